package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dugnad/dugnad/node/client"
)

const (
	// diskBytes is the size of a child's own file system, which is not full then.
	diskBytes = 8 << 30
	// diskLeft is what a full one has left: less than the ledger and the objects
	// leave alone.
	diskLeft = 64 << 20
)

var errMount = errors.New("mount tmpfs")

// mount makes the node's folder a file system of its own, or changes its size.
func (s *childSettings) mount(flags uintptr, size int64) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", s.Dir, "tmpfs", flags, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("%w: %w", errMount, err)
	}
	return nil
}

// resize leaves little room in the node's file system, or much.
func (s *childSettings) resize(full bool) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.Dir, &st); err != nil {
		return err
	}
	size := int64(diskBytes)
	if full {
		size = (int64(st.Blocks)-int64(st.Bfree))*st.Bsize + diskLeft
	}
	return s.mount(unix.MS_REMOUNT, size)
}

// ownMounts lets a process mount what nobody else sees.
func ownMounts() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

// needMounts skips a test where an ordinary user may not mount anything.
func needMounts(t *testing.T) {
	t.Helper()
	cmd := exec.Command("true")
	cmd.SysProcAttr = ownMounts()
	if err := cmd.Run(); err != nil {
		t.Skipf("no mount namespace here: %v", err)
	}
}

// disk fills the node's disk, or makes room.
func (c *child) disk(ctx context.Context, how string) {
	c.t.Helper()
	key := newKey()
	head := fmt.Sprint("disk ", how, " ", key, " ")
	c.tell("disk", how, key)
	if said := c.await(ctx, head); said != head+"<nil>" {
		c.t.Fatalf("%s: %s", c.settings.Name, said)
	}
}

// fullDisks are the nodes whose disk fills up in the middle of an array that runs
// on the node "worker", and what is then.
var fullDisks = []struct {
	full string
	// While the disk is full another node leads, array is where the rest of the array
	// ends, on the worker or elsewhere. In each row a job that is submitted to a third
	// node succeeds.
	array string
	// With room again, without being started again, the node has the same ledger as
	// the others, and runs tasks; all outputs are there.
}{
	{full: "worker", array: "elsewhere"},
	{full: "leader", array: "worker"},
}

// TestFullDisk: a node whose disk is full hinders nobody, loses nothing that was
// acknowledged, and goes on by itself when there is room.
func TestFullDisk(t *testing.T) {
	needMounts(t)
	t.Parallel()
	for _, c := range fullDisks {
		t.Run(c.full, func(t *testing.T) {
			if testing.Short() && c.full == "leader" {
				t.Skip("a sample will do")
			}
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), gridPatience)
			defer cancel()
			number := map[string]int{"leader": 0, "worker": 1}[c.full] // the founder leads
			p := startProcesses(ctx, t, 3, number)
			full, worker, other := p.nodes[number], p.nodes[1], p.nodes[2]
			p.leader(ctx)
			p.only(ctx, t, worker)
			array := p.middle(ctx, t, other.client)
			full.disk(ctx, "full")
			p.resume(ctx, t, other.client)
			for _, n := range p.nodes {
				n.tell("release")
			}
			on := oncePerTask(ctx, t, other.client, array, restartTasks)
			if delete(on, worker.id); (len(on) > 0) != (c.array == "elsewhere") {
				t.Errorf("tasks have ended on the worker and %v, want the rest on %s", on, c.array)
			}
			added := p.array(ctx, t, other.client, newKey())
			oncePerTask(ctx, t, other.client, added, restartTasks)
			// A machine that is slow for seconds may have another leader at any time.
			if now := p.leader(ctx); now == full {
				t.Errorf("%s leads, whose disk is full", now.settings.Name)
			}
			full.disk(ctx, "large")
			p.whole(ctx)
			p.alike(ctx)
			p.complete(ctx, t, array)
			p.complete(ctx, t, added)
			p.only(ctx, t, full)
			last := p.array(ctx, t, full.client, newKey())
			if on := oncePerTask(ctx, t, full.client, last, restartTasks); !on[full.id] {
				t.Errorf("with room again, tasks end on %v, not on %s", on, full.id)
			}
		})
	}
}

// only leaves room for tasks on one node.
func (p *processes) only(ctx context.Context, t *testing.T, one *child) {
	t.Helper()
	leader := p.leader(ctx)
	for _, c := range p.nodes {
		if c != one {
			if _, err := leader.client.Drain(ctx, c.id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// resume undoes only.
func (p *processes) resume(ctx context.Context, t *testing.T, at *client.Client) {
	t.Helper()
	list, err := at.Nodes(ctx, client.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range list.Nodes {
		if strings.HasPrefix(n.State, "drain") {
			if _, err := at.Resume(ctx, n.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
}
