package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

// array is the job that counts, of which each task has a file, and what has
// happened to it.
type array struct {
	*grid
	id string
	// victim is the node that was killed; nil is none yet. lost is when.
	victim *peer
	lost   time.Time
	// done is the number of tasks that have ended, reported those that each node
	// has reported.
	done     uint32
	reported map[string]uint32
	bar      bar
}

// run submits the array and follows it to its end.
func (a *array) run(ctx context.Context) error {
	module, err := a.guest("wordcount")
	if err != nil {
		return err
	}
	names := strings.Join(a.files, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(a.dir, "files.txt"), []byte(names), 0o600); err != nil {
		return err
	}
	if a.id, err = a.submit(ctx, "array.yaml", fmt.Sprintf(`module: %s
count: %d
args: [-in, /input/source]
stdin: {path: files.txt, lines: true}
inputs: [{name: source, path: source, folder: true}]
limits: {memory: 64MiB, timeout: 5m}
`, module, len(a.files))); err != nil {
		return err
	}
	a.done, a.bar = 0, newBar(len(a.files))
	began := time.Now()
	if err := a.peers[0].client.Watch(ctx, a.id, 0, a.event); err != nil {
		return err
	}
	a.bar.end()
	j, err := a.peers[0].client.Job(ctx, a.id, client.Fresh{Consistent: true})
	if err != nil {
		return err
	}
	if j.State != api.JobSucceeded || j.Tasks.Succeeded != j.Count {
		why, err := a.peers[0].client.Why(ctx, a.id)
		return errors.Join(fmt.Errorf("job %s %s: %s", a.id, j.State, why.Text), err)
	}
	if a.victim == nil {
		return errors.New("no node was killed: the array has ended before another one than the founder's had its part")
	}
	a.tell("all %d tasks have succeeded, each is recorded once, in %.1f s", j.Count, time.Since(began).Seconds())
	for _, p := range a.peers {
		if n := a.reported[p.node]; n > 0 {
			a.tell("%d of them on %s", n, p.name)
		}
	}
	return nil
}

// event is told what happens to the array.
func (a *array) event(e api.Event) error {
	switch e.Kind {
	case "placed":
		if a.when == killLease {
			return a.lose(e.Node, "has its first tasks")
		}
	case "ended":
		a.done += e.Count
		a.reported[e.Node] += e.Count
		a.bar.show(a.done)
		if a.when == killOutcome && a.done >= uint32(len(a.files)/3) {
			return a.lose(e.Node, fmt.Sprintf("has reported %d tasks", a.reported[e.Node]))
		}
	case "requeued":
		if a.victim != nil && e.Node == a.victim.node {
			a.bar.end()
			a.tell("%d tasks that %s had are to run elsewhere, %.1f s later", e.Count, a.victim.name, time.Since(a.lost).Seconds())
		}
	}
	return nil
}

// lose kills a node, once, unless it is the founder's.
func (a *array) lose(node, because string) error {
	if a.victim != nil || node == a.peers[0].node {
		return nil
	}
	for _, p := range a.peers {
		if p.node != node {
			continue
		}
		a.bar.end()
		a.victim, a.lost = p, time.Now()
		if err := p.kill(); err != nil {
			return fmt.Errorf("kill %s: %w", p.name, err)
		}
		a.tell("%s %s: kill -9 %d", p.name, because, p.cmd.Process.Pid)
	}
	return nil
}
