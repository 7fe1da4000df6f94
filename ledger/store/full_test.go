package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/ledger"
)

// TestDiskFull fills a small file system, in a child with a mount namespace of
// its own, and expects named errors and a store that goes on once there is room.
func TestDiskFull(t *testing.T) {
	sequential(t)
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+t.TempDir(), childVariable+"_FULL=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) || strings.Contains(stderr.String(), errMount.Error()) {
		t.Skipf("no mount namespace here: %v %s", err, stderr.String())
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	t.Log(out.String())
}

// TestRetry refuses writes for want of room and repeats them when there is some.
func TestRetry(t *testing.T) {
	c := testConfig(t.TempDir())
	var m model
	for range 2 {
		s := openTest(t, c)
		from := s.Applied()
		data := take(t, s, Header{})
		for i := from + 1; i <= from+10; i++ {
			s.config.DiskReserveBytes = math.MaxInt64
			_, restoring := s.Restore(bytes.NewReader(data))
			for _, err := range []error{
				s.Update(i, func(ledger.Tx) error { return errors.New("called") }),
				s.Raft().StoreLog(entry(i, 9)), s.Raft().SetUint64([]byte("term"), 9), s.Raft().DeleteRange(1, i), restoring,
			} {
				if !Retryable(err) || !errors.Is(err, ErrDiskFull) {
					t.Errorf("%d without room: %v, want a retryable ErrDiskFull", i, err)
				}
			}
			if s.Applied() != i-1 || s.Fault() != nil || bounds(t, s.Raft())[1] != i-1 {
				t.Fatalf("applied is %d, want %d, fault %v", s.Applied(), i-1, s.Fault())
			}
			wantState(t, s, &m)
			s.config.DiskReserveBytes = 0
			if err := errors.Join(s.Raft().StoreLog(entry(i, 1)), s.Update(i, apply(i))); err != nil {
				t.Fatal(err)
			}
			wantState(t, s, &m)
		}
		if err := s.fail(ErrDiskFull); Retryable(err) {
			t.Errorf("%v is retryable", err)
		}
		if err := s.Update(from+11, apply(from+11)); !errors.Is(err, ErrFault) || Retryable(err) || !errors.Is(s.Fault(), ErrFault) {
			t.Errorf("update after a fault: %v, want ErrFault", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

var errMount = errors.New("mount tmpfs")

// refusedWhenFull returns nil when f fails with ErrDiskFull. Badger may give
// space back at any time, and then f is right to succeed: so the disk is filled
// again before each try.
func refusedWhenFull(ballast *os.File, dir string, reserve int64, f func() error) error {
	var err error
	for range 20 {
		var st unix.Statfs_t
		for {
			if err := unix.Statfs(dir, &st); err != nil {
				return err
			}
			if int64(st.Bavail)*st.Bsize < reserve {
				break
			}
			if _, err := ballast.Write(make([]byte, 1<<20)); err != nil {
				return fmt.Errorf("ballast: %w", err)
			}
		}
		if err = f(); errors.Is(err, ErrDiskFull) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("never refused")
}

// fullDisk is TestDiskFull's child.
func fullDisk(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200m"); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	c := testConfig(filepath.Join(dir, "store"))
	c.DiskReserveBytes = 80 << 20
	s, err := Open(context.Background(), c)
	if err != nil {
		return err
	}
	var m model
	ballast := filepath.Join(dir, "ballast")
	for range 3 {
		// Others fill the disk slowly while the store writes.
		f, err := os.Create(ballast)
		if err != nil {
			return err
		}
		writes := 0
		for ; ; writes++ {
			last, _ := s.Raft().LastIndex()
			if err = s.Raft().StoreLogs(entries(last+1, last+10, 1)); err != nil {
				break
			}
			for i := last + 1; i <= last+10 && err == nil; i++ {
				err = s.Update(i, apply(i))
			}
			if err != nil {
				break
			}
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return fmt.Errorf("ballast: %w", err)
			}
		}
		if !errors.Is(err, ErrDiskFull) || s.Fault() != nil {
			return fmt.Errorf("after %d writes: %w, fault %w", writes, err, s.Fault())
		}
		if err := refusedWhenFull(f, dir, c.DiskReserveBytes, func() error { return s.Raft().SetUint64([]byte("term"), 9) }); err != nil {
			return fmt.Errorf("stable store: %w", err)
		}
		if err := s.maintain(&keeper{}); err != nil {
			return err
		}
		snapshot, err := s.Snapshot(Header{})
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if _, err := snapshot.WriteTo(&b); err != nil {
			return err
		}
		_ = snapshot.Close()
		if err := refusedWhenFull(f, dir, c.DiskReserveBytes, func() error {
			_, err := s.Restore(bytes.NewReader(b.Bytes()))
			return err
		}); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		fmt.Printf("full after %d writes at %d\n", writes, s.Applied())
		if err := errors.Join(f.Close(), os.Remove(ballast)); err != nil {
			return err
		}
		last, _ := s.Raft().LastIndex()
		for i := s.Applied() + 1; i <= last; i++ {
			if err := s.Update(i, apply(i)); err != nil {
				return err
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
		if s, err = Open(context.Background(), c); err != nil {
			return err
		}
		got, index, err := contentOf(s)
		if err != nil || index != last {
			return fmt.Errorf("applied %d of %d, %w", index, last, err)
		}
		want := m.at(index)
		for k, v := range want {
			if got[k] != v {
				return fmt.Errorf("key %q differs at %d", k, index)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d keys, want %d", len(got), len(want))
		}
	}
	return s.Close()
}
