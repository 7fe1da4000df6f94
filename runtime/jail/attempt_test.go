//go:build linux

package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attemptMain is the life of a jailed child.
func attemptMain(name string) int {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Threads from before the jail must be confined as well.
	spread(8)
	rep, err := Apply(o.Policy)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var tried error
	if a, ok := forbidden[name]; ok {
		tried = onManyThreads(func() error { return a.try(o) })
	} else if f, ok := ordinary[name]; ok {
		tried = f(o)
	} else {
		tried = limited[name](o)
	}
	r := report{Report: rep}
	if tried != nil {
		r.Error = tried.Error()
		errors.As(tried, &r.Errno)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

// spread makes n threads that live at the same time.
func spread(n int) {
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}

// onManyThreads calls f on several threads and returns nil, which means "not
// refused", when any of them succeeded.
func onManyThreads(f func() error) error {
	const n = 8
	errs := make([]error, n)
	var all, done sync.WaitGroup
	all.Add(n)
	for i := range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
			errs[i] = f()
		})
	}
	done.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errs[0]
}

type attempt struct {
	needsLandlock int
	try           func(order) error
}

func open(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0o600)
	if err == nil {
		f.Close()
	}
	return err
}

func raw(trap uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := syscall.RawSyscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

var forbidden = map[string]attempt{
	"open outside":     {1, func(o order) error { return open(o.Outside, os.O_RDONLY) }},
	"list outside":     {1, func(o order) error { _, err := os.ReadDir("/"); return err }},
	"pid 1 environ":    {1, func(o order) error { return open("/proc/1/environ", os.O_RDONLY) }},
	"own memory file":  {1, func(o order) error { return open("/proc/self/mem", os.O_RDWR) }},
	"write outside":    {0, func(o order) error { return open(o.Outside, os.O_WRONLY) }},
	"write inside":     {0, func(o order) error { return open(o.Inside, os.O_WRONLY) }},
	"truncate inside":  {0, func(o order) error { return os.Truncate(o.Inside, 0) }},
	"create inside":    {0, func(o order) error { return open(o.Inside+"2", os.O_CREATE|os.O_RDWR) }},
	"remove inside":    {0, func(o order) error { return os.Remove(o.Inside) }},
	"rename inside":    {0, func(o order) error { return os.Rename(o.Inside, o.Inside+"2") }},
	"link inside":      {0, func(o order) error { return os.Link(o.Inside, o.Inside+"2") }},
	"symlink":          {0, func(o order) error { return os.Symlink("/", filepath.Join(o.Scratch, "s")) }},
	"chmod inside":     {0, func(o order) error { return os.Chmod(o.Inside, 0o777) }},
	"mknod":            {0, func(o order) error { return unix.Mknod(filepath.Join(o.Scratch, "n"), unix.S_IFCHR|0o600, 259) }},
	"socket inet":      {0, func(order) error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
	"socket unix":      {0, func(order) error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
	"socket netlink":   {0, func(order) error { _, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, 0); return err }},
	"connect":          {0, func(order) error { return unix.Connect(0, &unix.SockaddrUnix{Name: "/x"}) }},
	"bind":             {0, func(order) error { return unix.Bind(0, &unix.SockaddrInet4{Port: 1}) }},
	"accept":           {0, func(order) error { _, _, err := unix.Accept4(0, 0); return err }},
	"peer":             {0, func(order) error { _, err := unix.GetsockoptUcred(0, unix.SOL_SOCKET, unix.SO_PEERCRED); return err }},
	"sendmsg":          {0, func(order) error { return unix.Sendmsg(0, []byte{1}, nil, nil, 0) }},
	"exec":             {0, func(order) error { return unix.Exec("/bin/sh", []string{"sh"}, nil) }},
	"execveat":         {0, func(order) error { return raw(unix.SYS_EXECVEAT, 0, 0, 0, 0, unix.AT_EMPTY_PATH) }},
	"fork":             {0, func(order) error { return raw(unix.SYS_CLONE, uintptr(unix.SIGCHLD)) }},
	"clone3":           {0, func(order) error { return raw(unix.SYS_CLONE3, 0, 0) }},
	"clone namespace":  {0, func(order) error { return raw(unix.SYS_CLONE, unix.CLONE_THREAD|unix.CLONE_NEWNET) }},
	"start a program":  {0, startProgram},
	"ptrace":           {0, func(order) error { return raw(unix.SYS_PTRACE, unix.PTRACE_TRACEME) }},
	"process_vm_readv": {0, func(order) error { return raw(unix.SYS_PROCESS_VM_READV, 1) }},
	"kill parent":      {0, func(order) error { return unix.Kill(os.Getppid(), 0) }},
	"kill everybody":   {0, func(order) error { return unix.Kill(-1, 0) }},
	"tgkill parent":    {0, func(order) error { p := os.Getppid(); return unix.Tgkill(p, p, 0) }},
	"pidfd of parent":  {0, func(order) error { _, err := unix.PidfdOpen(os.Getppid(), 0); return err }},
	"mount":            {0, func(o order) error { return unix.Mount("none", o.Scratch, "tmpfs", 0, "") }},
	"unshare":          {0, func(order) error { return unix.Unshare(unix.CLONE_NEWNET) }},
	"setns":            {0, func(order) error { return unix.Setns(0, 0) }},
	"chroot":           {0, func(o order) error { return unix.Chroot(o.Scratch) }},
	"setuid":           {0, func(order) error { return raw(unix.SYS_SETUID, 1) }},
	"keyctl":           {0, func(order) error { return raw(unix.SYS_KEYCTL, 0) }},
	"add_key":          {0, func(order) error { return raw(unix.SYS_ADD_KEY) }},
	"bpf":              {0, func(order) error { return raw(unix.SYS_BPF) }},
	"io_uring":         {0, func(order) error { return raw(unix.SYS_IO_URING_SETUP, 1) }},
	"perf events":      {0, func(order) error { return raw(unix.SYS_PERF_EVENT_OPEN) }},
	"userfaultfd":      {0, func(order) error { return raw(unix.SYS_USERFAULTFD) }},
	"memfd":            {0, func(order) error { return raw(unix.SYS_MEMFD_CREATE) }},
	"openat2":          {0, func(order) error { _, err := unix.Openat2(-1, "/", &unix.OpenHow{}); return err }},
	"push a character": {0, pushCharacter},
	"set own signal":   {0, func(order) error { return raw(unix.SYS_FCNTL, 0, unix.F_SETOWN, 1) }},
	"dumpable again":   {0, func(order) error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }},
	"reboot":           {0, func(order) error { return raw(unix.SYS_REBOOT, 0, 0, 0) }},
	"set the clock":    {0, func(order) error { return raw(unix.SYS_CLOCK_SETTIME, 0, 0) }},
	"a 32-bit number":  {0, func(order) error { return raw(0x40000000 | unix.SYS_GETPID) }},
}

func startProgram(order) error {
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err == nil {
		_, err = p.Wait()
	}
	return err
}

func pushCharacter(order) error {
	c := byte('x')
	return raw(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
}

var ordinary = map[string]func(order) error{
	"gc": func(order) error {
		var keep [][]byte
		for i := range 2000 {
			keep = append(keep, make([]byte, 64<<10))
			if i%200 == 0 {
				keep = nil
				runtime.GC()
			}
			runtime.KeepAlive(keep)
		}
		return nil
	},
	"threads": func(order) error { spread(64); return nil },
	"timers": func(order) error {
		for range 20 {
			<-time.After(time.Millisecond)
		}
		return nil
	},
	"pipe through the poller": func(order) error {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		read := make(chan error, 1)
		go func() {
			_, err := r.Read(make([]byte, 8))
			read <- err
		}()
		if _, err := w.Write([]byte("x")); err != nil {
			return err
		}
		return errors.Join(<-read, w.Close())
	},
	"executable memory": func(order) error {
		code, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		return errors.Join(unix.Mprotect(code, unix.PROT_READ|unix.PROT_EXEC), unix.Munmap(code))
	},
	"read": func(o order) error {
		_, err := os.ReadFile(o.Inside)
		if err != nil {
			return err
		}
		if _, err := os.ReadDir(filepath.Dir(o.Inside)); err != nil {
			return err
		}
		root, err := os.OpenRoot(filepath.Dir(o.Inside))
		if err != nil {
			return err
		}
		defer root.Close()
		_, err = root.ReadFile("inside")
		return err
	},
	"write": func(o order) error {
		sub := filepath.Join(o.Scratch, "sub")
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return err
		}
		f, err := os.CreateTemp(sub, "x")
		if err != nil {
			return err
		}
		_, err = f.WriteString("text")
		err = errors.Join(err, f.Sync(), f.Close(), os.Rename(f.Name(), filepath.Join(sub, "y")))
		return errors.Join(err, os.RemoveAll(sub))
	},
	"a panic can be recovered": func(order) (err error) {
		defer func() {
			if recover() == nil {
				err = errors.New("nothing to recover")
			}
		}()
		var p *int
		return fmt.Errorf("read %d through nil", *p)
	},
	"own signals": func(order) error {
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGUSR1)
		if err := unix.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			return err
		}
		<-got
		return nil
	},
}

// sink keeps memory reachable.
var sink [][]byte

func mapMemory(prot int) error {
	m, err := unix.Mmap(-1, 0, 4<<30, prot, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	return unix.Munmap(m)
}

var limited = map[string]func(order) error{
	"accept on 900": func(order) error { _, _, err := unix.Accept4(900, 0); return err },
	"accept on 0":   func(order) error { _, _, err := unix.Accept4(0, 0); return err },
	"listen on 900": func(order) error { return unix.Listen(900, 1) },
	"peer of 900": func(order) error {
		_, err := unix.GetsockoptUcred(900, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	},
	"kind of 900": func(order) error {
		_, err := unix.GetsockoptInt(900, unix.SOL_SOCKET, unix.SO_TYPE)
		return err
	},
	"map 4 GiB":     func(order) error { return mapMemory(unix.PROT_READ | unix.PROT_WRITE) },
	"reserve 4 GiB": func(order) error { return mapMemory(unix.PROT_NONE) },
	"fill the heap": func(order) error {
		for {
			sink = append(sink, make([]byte, 16<<20))
		}
	},
	"open many files": func(o order) error {
		for range 64 {
			f, err := os.Open(o.Inside)
			if err != nil {
				return err
			}
			defer f.Close()
		}
		return nil
	},
	"burn": func(order) error {
		for {
			runtime.Gosched()
		}
	},
	"write 2 MiB": func(o order) error {
		signal.Ignore(syscall.SIGXFSZ)
		return os.WriteFile(filepath.Join(o.Scratch, "big"), make([]byte, 2<<20), 0o600)
	},
	"raise open files": func(order) error {
		return unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1000, Max: 1000}, nil)
	},
}
