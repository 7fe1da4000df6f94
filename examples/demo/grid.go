package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// When a node is killed.
const (
	killLease   = "lease"
	killOutcome = "outcome"
)

// peers are the names of the nodes. The first founds the grid.
func peers() []string { return []string{"anna", "bjarne", "clara"} }

// lookPause is between two questions for what has no event to wait for.
const lookPause = 100 * time.Millisecond

// grid is the second part: a grid of processes.
type grid struct {
	demo
	dir   string
	peers []*peer
	// files are the sources that are counted.
	files []string
	began time.Time
}

func (d demo) grid(ctx context.Context) (err error) {
	if d.when != killLease && d.when != killOutcome {
		return fmt.Errorf("-kill is %q, want %s or %s", d.when, killLease, killOutcome)
	}
	dir, err := os.MkdirTemp("", "dugnad-grid-*")
	if err != nil {
		return err
	}
	g := &grid{demo: d, dir: dir, began: time.Now()}
	defer func() { err = errors.Join(err, g.close()) }()
	if err := g.found(ctx); err != nil {
		return err
	}
	if g.files, err = gather(d.text, filepath.Join(dir, "source"), ".go"); err != nil {
		return err
	}
	return g.count(ctx)
}

// close ends the nodes and removes all that they have kept.
func (g *grid) close() error {
	for _, p := range g.peers {
		if p != nil {
			p.stop()
		}
	}
	return os.RemoveAll(g.dir)
}

// tell prints a line with the time that has passed.
func (g *grid) tell(format string, args ...any) {
	fmt.Printf("%7.1f s  %s\n", time.Since(g.began).Seconds(), fmt.Sprintf(format, args...))
}

// found starts the nodes and waits until each is known to all and votes: only then
// may one of them be lost.
func (g *grid) found(ctx context.Context) error {
	fmt.Println("Three neighbours found a grid: three processes on this machine")
	invitation := ""
	for i, name := range peers() {
		p, err := startPeer(ctx, g.dugnad, g.dir, name, invitation)
		if p != nil && p.cmd.Process != nil {
			g.peers = append(g.peers, p)
		}
		if err != nil {
			return err
		}
		if i > 0 {
			g.tell("%s has joined", name)
			continue
		}
		g.tell("%s has founded it", name)
		if invitation, err = g.command(ctx, "invite", "--node-dir", p.dir, "--uses", "2"); err != nil {
			return err
		}
	}
	if err := g.until(ctx, func() bool {
		list, err := g.peers[0].client.Nodes(ctx, client.Page{})
		voters := 0
		for _, n := range list.Nodes {
			if n.Voter && n.State == "up" {
				voters++
			}
		}
		return err == nil && voters == len(g.peers)
	}); err != nil {
		return err
	}
	g.tell("all three run tasks and keep the ledger")
	return nil
}

// until looks now and then, until what it waits for is so.
func (g *grid) until(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// count has the words counted by an array and added up by a second job, loses a
// node on the way, and compares the result.
func (g *grid) count(ctx context.Context) error {
	fmt.Printf("\nIt counts the words of %d source files, each in a task of its own\n", len(g.files))
	a := &array{grid: g, reported: map[string]uint32{}}
	if err := a.run(ctx); err != nil {
		return err
	}
	fmt.Println("\nA second job adds up what these tasks have put out")
	sum, err := g.reduce(ctx, a.id)
	if err != nil && g.when == killLease && a.reported[a.victim.node] > 0 {
		// It had reported between its first lease and its end.
		g.tell("%v", err)
		g.tell("%s has taken outputs with it: the array runs again, on those that are left", a.victim.name)
		if err := a.run(ctx); err != nil {
			return err
		}
		sum, err = g.reduce(ctx, a.id)
	}
	if err != nil {
		return err
	}
	show(sum)
	if err := sameWords(filepath.Join(g.dir, "source"), sum); err != nil {
		return fmt.Errorf("WRONG: %w", err)
	}
	g.tell("that is right")
	fmt.Println()
	return nil
}

// submit writes a job file, shows it and submits it at the founder.
func (g *grid) submit(ctx context.Context, name, file string) (string, error) {
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return "", err
	}
	for line := range strings.Lines(file) {
		fmt.Print("           | ", line)
	}
	id, err := g.command(ctx, "job", "submit", "--node-dir", g.peers[0].dir, path)
	if err == nil {
		g.tell("dugnad job submit %s: job %s", name, id)
	}
	return id, err
}

// guest is the path of a compiled example.
func (g *grid) guest(name string) (string, error) {
	return filepath.Abs(filepath.Join(g.guests, name+".wasm"))
}

// reduce adds up what the array has put out, and returns what it has put out
// itself, as another node than that which was asked to do it gives it.
func (g *grid) reduce(ctx context.Context, array string) (string, error) {
	module, err := g.guest("reduce")
	if err != nil {
		return "", err
	}
	id, err := g.submit(ctx, "reduce.yaml", fmt.Sprintf(
		"module: %s\nargs: [/input/counts]\ninputs: [{name: counts, job: %s}]\n", module, array))
	if err != nil {
		return "", err
	}
	j, err := g.peers[0].client.Wait(ctx, id, client.Fresh{})
	if err != nil {
		return "", err
	}
	if j.State != api.JobSucceeded {
		why, err := g.peers[0].client.Why(ctx, id)
		return "", errors.Join(fmt.Errorf("job %s %s: %s", id, j.State, why.Text), err)
	}
	asked := g.peers[0]
	for _, p := range g.peers {
		if p.alive() {
			asked = p
		}
	}
	g.tell("done; %s gives the result:", asked.name)
	if _, err := asked.client.Job(ctx, id, client.Fresh{Consistent: true}); err != nil {
		return "", err
	}
	r, err := asked.client.Outputs(ctx, id, "stdout", 0, 0)
	if err != nil {
		return "", err
	}
	sum, err := io.ReadAll(r)
	return string(sum), errors.Join(err, r.Close())
}
