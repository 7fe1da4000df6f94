package content

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// childVariable holds, in a child process of a test, the directory to work on.
const childVariable = "DUGNAD_CONTENT_CHILD"

func TestMain(m *testing.M) {
	if address := os.Getenv(holderVariable); address != "" {
		if err := hold(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(childVariable); dir != "" {
		work := writer
		if os.Getenv(childVariable+"_FULL") != "" {
			work = fullDisk
		}
		if err := work(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// crashObject is object i of the writer.
func crashObject(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 5))
	size := r.IntN(3000)
	if r.IntN(8) == 0 {
		size = ChunkBytes/2 + r.IntN(2*ChunkBytes)
	}
	return noise(uint64(i), size)
}

// writer stores and pins objects until somebody kills it, and says what it did
// after each call has returned. Each third object is unpinned again.
func writer(dir string) error {
	s, err := Open(context.Background(), testConfig(dir))
	if err != nil {
		return err
	}
	start, err := strconv.Atoi(os.Getenv(childVariable + "_START"))
	if err != nil {
		return err
	}
	for i := start; ; i++ {
		b := crashObject(i)
		if _, _, err := s.Put(context.Background(), bytes.NewReader(b), "owner"); err != nil {
			return err
		}
		fmt.Println("put", i)
		if i%3 == 0 {
			fmt.Println("unpinning", i)
			if err := s.Unpin(Sum(b), "owner"); err != nil {
				return err
			}
			fmt.Println("unpinned", i)
		}
		if i%16 == 15 {
			s.mu.Lock()
			s.compact()
			s.mu.Unlock()
		}
	}
}

// TestKilled kills a writer again and again: what it said it stored is there,
// whole and pinned, and nothing else is left behind.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	pins := map[int]bool{}
	unsure := map[int]bool{}
	next := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir, childVariable+"_START="+strconv.Itoa(next))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for count := 0; lines.Scan(); count++ {
			word, number, _ := strings.Cut(lines.Text(), " ")
			i, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(lines.Text())
			}
			next = max(next, i+1)
			pins[i] = word == "put"
			unsure[i] = word == "unpinning"
			if count == 5+round*11 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatal(stderr.String())
		}
		checkAfterCrash(t, dir, pins, unsure)
		next++ // the object that was being stored may be pinned
	}
}

func checkAfterCrash(t *testing.T, dir string, pins, unsure map[int]bool) {
	t.Helper()
	s, err := Open(context.Background(), testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if missing := s.Missing(); len(missing) > 1 { // one may have been pinned but not yet renamed
		t.Fatal("missing:", missing)
	}
	for i, pinned := range pins {
		b := crashObject(i)
		info, err := s.Stat(Sum(b))
		if err != nil {
			t.Fatalf("object %d: %v", i, err)
		}
		if !unsure[i] && (info.Pins == 1) != pinned {
			t.Fatalf("object %d: %d pins, want pinned = %t", i, info.Pins, pinned)
		}
		if !bytes.Equal(content(t, s, Sum(b), true), b) {
			t.Fatalf("object %d differs", i)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, tempDir)); len(left) > 0 {
		t.Fatal("temporary files stay:", left)
	}
}

// TestJournalCutOff opens a store whose journal ends at any byte, or has a
// damaged byte: the other pins are all there.
func TestJournalCutOff(t *testing.T) {
	var whole []byte
	var ends []int
	for i := range 5 {
		whole = pinRecord{hash: Sum([]byte{byte(i)}), size: 1, owner: "owner" + strconv.Itoa(i), count: 1}.appendTo(whole)
		ends = append(ends, len(whole))
	}
	pins := func(journal []byte) int {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, journalFile), journal, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		for range 2 { // the second time from what the first one wrote
			s := openStore(t, testConfig(dir))
			n = s.pinCount
			if len(s.Missing()) != n {
				t.Fatal("pins of nothing are not missing")
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	for cut := 0; cut <= len(whole); cut += 3 {
		want := 0
		for want < len(ends) && ends[want] <= cut {
			want++
		}
		if got := pins(whole[:cut]); got != want {
			t.Fatalf("cut at %d: %d pins, want %d", cut, got, want)
		}
	}
	for at := 0; at < len(whole); at += 7 {
		harmed := bytes.Clone(whole)
		harmed[at] ^= 0x20
		if got := pins(harmed); got != 4 {
			t.Fatalf("damage at %d: %d pins", at, got)
		}
	}
}

var errMount = errors.New("mount tmpfs")

// TestDiskFull fills a small file system, in a child with a mount namespace of
// its own, and expects named errors and a store that goes on once there is room.
func TestDiskFull(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+t.TempDir(), childVariable+"_FULL=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) || strings.Contains(stderr.String(), errMount.Error()) {
		t.Skipf("no mount namespace here: %v %s", err, stderr.String())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
}

// fullDisk is TestDiskFull's child. The first time the reserve stops the store,
// the second time the file system does.
func fullDisk(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	for _, reserve := range []int64{4 << 20, 0} {
		c := testConfig(filepath.Join(dir, "store"))
		c.DiskReserveBytes = reserve
		s, err := Open(context.Background(), c)
		if err != nil {
			return err
		}
		if reserve == 0 {
			s.free = func() (int64, error) { return 1 << 40, nil }
		}
		if err := fill(s); err != nil {
			return fmt.Errorf("reserve %d: %w", reserve, err)
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

func fill(s *Store) error {
	ctx := context.Background()
	var stored []Hash
	var err error
	for i := 0; err == nil; i++ {
		var h Hash
		if h, _, err = s.Put(ctx, bytes.NewReader(noise(uint64(i), 3<<19)), "owner"); err == nil {
			stored = append(stored, h)
		}
		if i > 100 {
			return errors.New("disk is never full")
		}
	}
	if !errors.Is(err, ErrDiskFull) {
		return err
	}
	if files, err := os.ReadDir(s.dir(tempDir)); err != nil || len(files) > 0 {
		return fmt.Errorf("temporary files stay: %v %w", files, err)
	}
	for _, h := range stored {
		o, err := s.Open(h, true)
		if err != nil {
			return err
		}
		if err := errors.Join(o.Verify(), o.Close(), s.Unpin(h, "owner")); err != nil {
			return err
		}
	}
	for _, h := range stored[:2] { // only with a reserve is anything evicted
		if _, err := s.Remove(h); err != nil {
			return err
		}
	}
	_, _, err = s.Put(ctx, bytes.NewReader(noise(200, 3<<19)), "")
	if err != nil {
		return fmt.Errorf("no room after there was some: %w", err)
	}
	for _, h := range stored {
		if _, err := s.Remove(h); err != nil {
			return err
		}
	}
	return nil
}
