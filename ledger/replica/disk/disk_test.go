package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/ledger/ledgertest"
	"github.com/dugnad/dugnad/ledger/replica"
	"github.com/dugnad/dugnad/ledger/store"
	"golang.org/x/sys/unix"
)

// childVariable names the folder in which the child of TestFullDisk works.
const childVariable = "DUGNAD_DISK_CHILD"

var errMount = errors.New("mount tmpfs")

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := fullDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// open opens a store without a reserve in dir.
func open(t *testing.T, dir string) Store {
	t.Helper()
	config := store.Default(dir)
	config.DiskReserveBytes = 0
	s, err := store.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return Store{s}
}

// TestSnapshotMovesToAnotherStore takes a store's state and index over to another
// one, which keeps them when it is opened again.
func TestSnapshotMovesToAnotherStore(t *testing.T) {
	from, dir := open(t, t.TempDir()), t.TempDir()
	for index := uint64(3); index < 6; index++ {
		if err := from.Update(index, func(tx ledger.Tx) error {
			return tx.Set([]byte{byte(index)}, []byte("value"))
		}); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	at, err := from.Snapshot(&b)
	if err != nil || at != 5 {
		t.Fatalf("snapshot at %d: %v", at, err)
	}
	to := open(t, dir)
	if err := to.Update(1, func(tx ledger.Tx) error { return tx.Set([]byte("old"), nil) }); err != nil {
		t.Fatal(err)
	}
	if at, err = to.Restore(bytes.NewReader(b.Bytes()[:b.Len()-1])); err == nil {
		t.Errorf("half a snapshot was restored to %d", at)
	}
	if at, err = to.Restore(&b); err != nil || at != 5 {
		t.Fatalf("restored to %d: %v", at, err)
	}
	if err := errors.Join(to.Sync(), to.Close()); err != nil {
		t.Fatal(err)
	}
	to = open(t, dir)
	keys := ""
	index, err := to.ViewAt(func(tx ledger.Tx) error {
		return tx.Scan(nil, nil, func(key, _ []byte) bool {
			keys += string(key)
			return true
		})
	})
	if err != nil || index != 5 || keys != "\x03\x04\x05" {
		t.Errorf("state at %d has %q: %v", index, keys, err)
	}
}

// TestFullDisk fills a small file system, in a child with a mount namespace of
// its own, under a grid of one: commands are refused with the cause, and taken
// again when there is room, without a restart.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+t.TempDir())
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

// fullDisk is TestFullDisk's child.
func fullDisk(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=300m"); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	c := store.Default(filepath.Join(dir, "store"))
	c.DiskReserveBytes, c.MemTableBytes = reserve, 8<<20
	s, err := store.Open(context.Background(), c)
	if err != nil {
		return err
	}
	config := replica.Default()
	ledgertest.Quick(&config)
	network := ledgertest.NewNetwork(1)
	config.ID, config.Address, config.Dir = "m0", "m0", filepath.Join(dir, "files")
	config.Machine, config.Dial = ledgertest.Toy{}, network.Dial("m0")
	config.Store, config.RaftLog = Store{s}, Store{s}.Raft()
	var l net.Listener
	if l, err = network.Listen("m0"); err != nil {
		return err
	}
	config.Listener = l
	ctx, cancel := context.WithTimeout(context.Background(), ledgertest.Deadline)
	defer cancel()
	r, err := replica.Open(ctx, config)
	if err == nil {
		err = r.Found(ctx)
	}
	if err != nil {
		return err
	}
	for seq := uint64(1); seq < 10 && err == nil; seq += 2 {
		err = fillAndFree(ctx, r, filepath.Join(dir, "ballast"), seq)
	}
	return errors.Join(err, r.Close(), s.Fault(), s.Close())
}

// reserve is what the store leaves free for others.
const reserve = 80 << 20

// fill leaves half of the reserve free.
func fill(ballast string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(ballast), &st); err != nil {
		return err
	}
	return os.WriteFile(ballast, make([]byte, int64(st.Bavail)*st.Bsize-reserve/2), 0o600)
}

// fillAndFree has a command applied when there is room, another one refused when
// there is none, and that one applied when there is room again.
func fillAndFree(ctx context.Context, r *replica.Replica, ballast string, seq uint64) error {
	add := func(ctx context.Context, seq uint64) (sum byte, err error) {
		command := ledgertest.ToyCommand{Client: 1, Seq: seq, Op: ledgertest.ToyAdd, Key: "k"}
		result, _, err := r.Propose(ctx, command.Encode())
		if err != nil {
			return 0, err
		}
		return result[len(result)-1], nil
	}
	if sum, err := add(ctx, seq); err != nil || sum != byte(seq) {
		return fmt.Errorf("with room: sum is %d after %d: %w", sum, seq, err)
	}
	if err := fill(ballast); err != nil {
		return err
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		defer cancel()
		for r.Status().Stalled == nil && short.Err() == nil {
			<-tick.C
		}
	}()
	if _, err := add(short, seq+1); !errors.Is(err, replica.ErrNoRoom) {
		return fmt.Errorf("without room: %w", err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if sum, err := add(ctx, seq+1); err != nil || sum != byte(seq+1) {
		return fmt.Errorf("with room again: sum is %d after %d: %w", sum, seq+1, err)
	}
	return nil
}
