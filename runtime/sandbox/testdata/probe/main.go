// Command probe calls the host in ways that libraries do not, and prints what
// it got.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"
	"unsafe"
)

type pointer = unsafe.Pointer

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTimeGet(id uint32, precision uint64, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 clock_res_get
func clockResGet(id uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out pointer, n uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_write
func fdWrite(fd uint32, iovecs pointer, n uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd uint32, iovecs pointer, n uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_renumber
func fdRenumber(from, to uint32) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(at uint32, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(fd, dirflags uint32, path pointer, size uint32, oflags uint32, rights, inheriting uint64, flags uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_filestat_get
func pathFilestatGet(fd, flags uint32, path pointer, size uint32, result pointer) uint32

//go:wasmimport wasi_snapshot_preview1 path_rename
func pathRename(fd uint32, old pointer, oldSize uint32, newFd uint32, name pointer, size uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_close
func fdClose(fd uint32) uint32

//go:wasmimport wasi_snapshot_preview1 sched_yield
func schedYield() uint32

//go:wasmimport wasi_unstable fd_seek
func seekZero(fd uint32, offset int64, whence uint32, result pointer) uint32

//go:wasmimport wasi_unstable fd_filestat_get
func filestatZero(fd uint32, result pointer) uint32

//go:wasmimport wasi_unstable poll_oneoff
func pollZero(in, out pointer, n uint32, result pointer) uint32

type iovec struct{ at, size uint32 }

type subscription struct {
	userdata uint64
	kind     uint8
	_        [7]byte
	id       uint32
	_        uint32
	timeout  uint64
	_        uint64
	flags    uint16
	_        [6]byte
}

type event struct {
	userdata uint64
	errno    uint16
	kind     uint8
	_        [5]byte
	bytes    uint64
	_        uint64
}

func main() {
	checks[os.Args[1]]()
}

var checks = map[string]func(){
	"clocks":  clocks,
	"poll":    poll,
	"sleep":   sleep,
	"forever": func() { wait(subscription{id: 1, timeout: 1 << 62}) },
	"vectors": vectors,
	"files":   files,
	"dots":    dots,
	"devices": devices,
	"zero":    zero,
	"random":  random,
	"env":     func() { fmt.Println(os.Args[1:], os.Environ()) },
	"echo":    func() { n, err := io.Copy(os.Stdout, os.Stdin); fmt.Fprintln(os.Stderr, n, err) },
	"lines":   lines,
	"stdin":   func() { var b [1]byte; n, err := os.Stdin.Read(b[:]); fmt.Println(n, err) },
	"spin": func() {
		fmt.Println("spinning")
		for i := 0; ; i++ {
			sink += i
		}
	},
	"output": func() {
		for {
			if _, err := fmt.Println("line"); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(3)
			}
		}
	},
	"broken": func() { _, err := os.Stdout.WriteString("x"); fmt.Fprintln(os.Stderr, err); os.Exit(4) },
	"fill":   fill,
	"flood":  func() { fill(); os.Exit(5) },
	"many":   many,
	"grow":   grow,
	"exit":   func() { code, _ := strconv.Atoi(os.Args[2]); os.Exit(code) },
	"panic":  func() { panic("sorry") },
	"work":   work,
	"mtime": func() {
		os.WriteFile("/tmp/f", nil, 0o600)
		st, err := os.Stat("/tmp/f")
		fmt.Println(st.ModTime().UTC(), err)
	},
}

var sink int

func clocks() {
	for id := range uint32(5) {
		var at, res uint64
		e1 := clockTimeGet(id, 0, pointer(&at))
		e2 := clockResGet(id, pointer(&res))
		fmt.Println(id, e1, e2, res, at > 0)
	}
	fmt.Println(time.Now().UTC().Format("2006-01-02 15:04:05"))
	begin := time.Now()
	time.Sleep(5 * time.Millisecond)
	fmt.Println(time.Since(begin) >= 5*time.Millisecond)
}

func wait(subs ...subscription) (uint32, []event) {
	out, n := make([]event, len(subs)+1), uint32(0)
	errno := pollOneoff(pointer(unsafe.SliceData(subs)), pointer(&out[0]), uint32(len(subs)), pointer(&n))
	return errno, out[:n]
}

func clock(id uint32) uint64 {
	var at uint64
	clockTimeGet(id, 0, pointer(&at))
	return at
}

func poll() {
	fmt.Println(wait())
	fmt.Println(wait(subscription{userdata: 1, id: 1, timeout: 1000}))
	before := clock(1)
	fmt.Println(wait(subscription{userdata: 2, id: 1, timeout: before + 3_000_000, flags: 1}))
	d := clock(1) - before
	fmt.Println(d >= 3_000_000 && d < 4_000_000)
	before = clock(0)
	fmt.Println(wait(subscription{userdata: 3, id: 0, timeout: before - 1, flags: 1}))
	fmt.Println(wait(subscription{userdata: 4, id: 2, timeout: 1}))
	fmt.Println(wait(subscription{userdata: 5, id: 1, timeout: 1, flags: 2}))
	fmt.Println(wait(subscription{userdata: 6, kind: 9}))
	fmt.Println(wait(subscription{userdata: 7, kind: 1, id: 77}, subscription{userdata: 8, id: 1, timeout: 1 << 60}))
	fmt.Println(wait(subscription{userdata: 9, kind: 2, id: 1}, subscription{userdata: 10, id: 1, timeout: 1 << 60}))
	fmt.Println(wait(subscription{userdata: 11, kind: 1, id: 0}, subscription{userdata: 12, id: 1, timeout: 1 << 60}))
	e, ev := wait(subscription{userdata: 13, id: 1, timeout: 2_000_000}, subscription{userdata: 14, id: 1, timeout: 1_000_000})
	fmt.Println(e, ev)
	fmt.Println(pollOneoff(nil, nil, 5000, nil), pollOneoff(pointer(uintptr(0xfffffff0)), nil, 3, nil))
	fmt.Println(schedYield())
}

func sleep() {
	ms, _ := strconv.Atoi(os.Args[2])
	begin := time.Now()
	time.Sleep(time.Duration(ms) * time.Millisecond)
	fmt.Println(time.Since(begin) >= time.Duration(ms)*time.Millisecond)
}

func vectors() {
	var n uint32
	one := byte('x')
	at := uint32(uintptr(pointer(&one)))
	write := func(v ...iovec) {
		fmt.Print(" ", fdWrite(2, pointer(unsafe.SliceData(v)), uint32(len(v)), pointer(&n)), ":", n)
		n = 0
	}
	write(iovec{at, 1}, iovec{at, 1})
	write(iovec{at, 0xffffffff})
	write(iovec{0xffffffff, 2})
	write(iovec{0xfffffff0, 0x10})
	write(make([]iovec, 1025)...)
	write(make([]iovec, 1024)...)
	huge := make([]iovec, 1000)
	for i := range huge {
		huge[i] = iovec{0, 3 << 20}
	}
	write(huge...)
	fmt.Print(" ", fdWrite(2, pointer(uintptr(0xfffffff8)), 2, pointer(&n)))
	fmt.Print(" ", fdWrite(2, pointer(uintptr(0)), 0x20000000, pointer(&n)))
	fmt.Print(" ", fdRead(0, pointer(uintptr(0xfffffff8)), 2, pointer(&n)))
	fmt.Println(" ", fdWrite(99, pointer(&[]iovec{{at, 1}}[0]), 1, pointer(&n)))
	big := make([]byte, 20<<20)
	f, _ := os.Create("/big")
	v := []iovec{{uint32(uintptr(pointer(&big[0]))), uint32(len(big))}}
	fmt.Println(fdWrite(uint32(f.Fd()), pointer(&v[0]), 1, pointer(&n)), n, v[0].size)
}

func open(fd uint32, path string, oflags uint32) (errno, opened uint32) {
	rights := uint64(1<<1 | 1<<6)
	if oflags&2 != 0 {
		rights = 1 << 1
	}
	errno = pathOpen(fd, 1, pointer(unsafe.StringData(path)), uint32(len(path)), oflags, rights, 0, 0, pointer(&opened))
	return errno, opened
}

func files() {
	count := 0
	var last uint32
	for {
		errno, fd := open(3, "f", 1)
		if errno != 0 {
			fmt.Println(count, errno)
			break
		}
		count, last = count+1, fd
	}
	fmt.Println(fdRenumber(last, 0x7fffffff), fdRenumber(last, 0xffffffff), fdRenumber(last, 1000), fdRenumber(last, last), fdRenumber(last, last-1))
	e, fd := open(3, "f", 1)
	fmt.Println(e, fd == last, fdClose(last), fdClose(last))
}

func stat(fd uint32, path string) string {
	var b [8]uint64
	errno := pathFilestatGet(fd, 1, pointer(unsafe.StringData(path)), uint32(len(path)), pointer(&b))
	return fmt.Sprint(path, "=", errno, "/", b[2]&0xff, "/", b[4], " ")
}

func dots() {
	os.MkdirAll("/a/b/c", 0o700)
	os.WriteFile("/a/b/file", []byte("12345"), 0o600)
	os.WriteFile("/a/other", []byte("123"), 0o600)
	_, b := open(3, "a/b", 2)
	_, c := open(b, "c", 2)
	fmt.Println(stat(3, ".."), stat(3, "../.."), stat(3, "../a/other"), stat(3, "."), stat(3, "a/../a/other"))
	fmt.Println(stat(b, ".."), stat(b, "../other"), stat(b, "../../a/b/file"), stat(b, "../../../../a/b/file"), stat(b, "../"), stat(b, "../none"))
	fmt.Println(stat(c, "../file"), stat(c, ".."), stat(c, "../../../.."))
	e, fd := open(c, "../file", 0)
	fmt.Println(e, fd > c, fdClose(fd))
	old, name := "../file", "../../moved"
	fmt.Println(pathRename(c, pointer(unsafe.StringData(old)), uint32(len(old)), c, pointer(unsafe.StringData(name)), uint32(len(name))), old, name)
	fmt.Println(stat(3, "a/moved"))
	long := make([]byte, 5000)
	fmt.Println(pathFilestatGet(3, 0, pointer(&long[0]), 5000, pointer(&long[0])), pathFilestatGet(3, 0, pointer(uintptr(0xfffffff0)), 100, pointer(&long[0])))
	entries, err := os.ReadDir("/")
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	fmt.Println(names, err)
}

func zero() {
	f, _ := os.Create("/tmp/f")
	f.WriteString("0123456789")
	var at uint64
	for _, s := range [][2]int64{{3, 2}, {2, 0}, {-1, 1}, {0, 3}} {
		fmt.Print(seekZero(uint32(f.Fd()), s[0], uint32(s[1]), pointer(&at)), ":", at, " ")
	}
	var st [9]uint64
	st[7], st[8] = 77, 88
	fmt.Println(filestatZero(uint32(f.Fd()), pointer(&st)), st[2]&0xff, st[2]>>32, st[3], st[7], st[8])
	type subscription struct {
		userdata uint64
		kind     uint64
		_        uint64
		id       uint64
		timeout  uint64
		_        uint64
		flags    uint64
	}
	sub, n := subscription{userdata: 5, id: 1, timeout: 1_000_000}, uint32(0)
	var out [1]event
	before := clock(1)
	fmt.Println(pollZero(pointer(&sub), pointer(&out), 1, pointer(&n)), n, out[0].userdata, clock(1)-before >= 1_000_000)
}

func random() {
	b := make([]byte, 8)
	rand.Read(b)
	fmt.Printf("%x\n", b)
	fmt.Println(randomGet(0xffffff00, 0x200), randomGet(0, 0xffffffff))
}

func lines() {
	s, n := bufio.NewScanner(os.Stdin), 0
	for s.Scan() {
		n += len(s.Text())
	}
	fmt.Println(n)
}

func fill() {
	f, err := os.Create("/tmp/full")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for b := make([]byte, 64<<10); ; {
		if _, err := f.Write(b); err != nil {
			fmt.Println(err)
			return
		}
	}
}

func many() {
	for i := 0; ; i++ {
		f, err := os.Create(fmt.Sprint("/tmp/", i))
		if err != nil {
			fmt.Println(err)
			os.Exit(6)
		}
		f.Close()
	}
}

func grow() {
	var all [][]byte
	for {
		all = append(all, make([]byte, 1<<20))
		sink += len(all)
	}
}

func work() {
	m := map[int]string{}
	for i := range 20000 {
		m[i%977] = strconv.Itoa(i)
	}
	b := make([]byte, 16)
	rand.Read(b)
	os.WriteFile("/tmp/work", b, 0o600)
	go func() { sink++ }()
	time.Sleep(time.Millisecond)
	fmt.Printf("%d %x %s\n", len(m), b, time.Now().UTC())
}

func devices() {
	in, err := os.ReadFile("/dev/stdin")
	fmt.Println(string(in), err)
	for _, name := range []string{"/dev/null", "/dev/stdout", "dev/../dev/stderr", "/dev/other"} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			fmt.Println(err)
			continue
		}
		_, err = f.WriteString(name + "\n")
		_, seek := f.Seek(0, io.SeekStart)
		fmt.Println(err, seek != nil, f.Close())
	}
	st, err := os.Stat("/dev/null")
	fmt.Println(st.Mode()&os.ModeDevice != 0, err)
	list, err := os.ReadDir("/")
	fmt.Println(len(list), err)
}
