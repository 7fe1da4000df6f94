package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/jail"
)

// progressInterval is how often compiling is reported.
const progressInterval = 100 * time.Millisecond

// compile compiles the module in a child process and stores the result.
func (c *Cache) compile(ctx context.Context, key string, hash [sha256.Size]byte, p prepared, tell func(Progress)) (Image, error) {
	dir, err := makeTempDir(c.TempDir(), "compile-")
	if err != nil {
		return Image{}, err
	}
	// What is left behind is removed by the next OpenCache.
	defer func() { _ = dir.remove() }()
	work := filepath.Join(dir.path, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		return Image{}, fmt.Errorf("make folder for the compiler: %w", err)
	}
	stop := report(p, tell)
	done, err := c.runCompiler(ctx, work, p)
	stop()
	if err != nil {
		return Image{}, err
	}
	return c.store(dir, work, key, hash, p, done)
}

// report tells about the progress of compiling until stop is called.
func report(p prepared, tell func(Progress)) (stop func()) {
	begin, quit := time.Now(), make(chan struct{})
	now := func(done bool) {
		tell(Progress{Phase: PhaseCompile, Elapsed: time.Since(begin), Estimate: p.report.CompileCost, Done: done})
	}
	now(false)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now(false)
			case <-quit:
				now(true)
				return
			}
		}
	})
	return func() { close(quit); running.Wait() }
}

// runCompiler runs the child that compiles into the folder work.
func (c *Cache) runCompiler(ctx context.Context, work string, p prepared) (compiled, error) {
	executable, err := childExecutable(c.config.Executable)
	if err != nil {
		return compiled{}, err
	}
	limited, left := newCountdown(ctx, c.config.CompileTimeout, ErrCompileTimeout)
	defer left.stop()
	heap := int64(c.config.CompileMemoryBytes / 4 * 3)
	proc, err := startProcess(executable, heap, c.config.CompileNice, nil)
	if err != nil {
		return compiled{}, err
	}
	defer c.compiling.end(c.compiling.begin(proc))
	stop := context.AfterFunc(limited, proc.kill)
	defer stop()
	cpuSeconds := uint64((c.config.CompileCPU + time.Second - 1) / time.Second)
	_, err = proc.setup(limited, setup{
		Mode: modeCompile, Dir: work, HeapBytes: heap, Workers: c.config.CompileWorkers,
		Policy: jail.Policy{
			ReadWrite:         []string{work},
			AddressSpaceBytes: c.config.CompileMemoryBytes,
			CPUSeconds:        cpuSeconds,
			OpenFiles:         64,
			FileBytes:         c.config.CompileMemoryBytes,
		},
	})
	if err == nil {
		c.compiling.ready(proc, left)
		err = sendParts(proc.out, p)
	}
	var f frame
	if err == nil {
		f, err = proc.in.next()
	}
	var done compiled
	if err == nil && f.kind != frameCompiled {
		err = fmt.Errorf("%w: frame of type %d, want the end of compiling", ErrProtocol, f.kind)
	} else if err == nil {
		err = f.decode(&done)
	}
	if err != nil {
		return compiled{}, c.explain(ctx, proc, proc.lost(limited, err))
	}
	if done.Error != "" {
		return compiled{}, &InvalidError{Message: done.Error}
	}
	return done, nil
}

// sendParts sends the module and its skeleton in chunks.
func sendParts(out *sender, p prepared) error {
	for id, part := range [][]byte{p.module, p.skeleton} {
		for len(part) > 0 {
			n := min(len(part), FrameBytesMax)
			if err := out.send(frameChunk, uint32(id), part[:n]); err != nil {
				return err
			}
			part = part[n:]
		}
	}
	return out.send(frameCompile, 0, nil)
}

// explain says why a compiler was lost.
func (c *Cache) explain(ctx context.Context, proc *process, err error) error {
	var lost *LostError
	if !errors.As(err, &lost) {
		return err
	}
	used := proc.cmd.ProcessState.UserTime() + proc.cmd.ProcessState.SystemTime()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrCompileTimeout):
		return fmt.Errorf("%w: more than %s", ErrCompileTimeout, c.config.CompileTimeout)
	// The kernel counts differently when it kills, up to a quarter less.
	case strings.Contains(lost.Stderr, cpuLimitMessage), used >= c.config.CompileCPU/4*3:
		return fmt.Errorf("%w: more than %s of processor time", ErrCompileTimeout, c.config.CompileCPU)
	case lost.outOfMemory():
		return fmt.Errorf("%w: more than %d MiB", ErrCompileMemory, c.config.CompileMemoryBytes>>20)
	}
	return fmt.Errorf("%w: %w", ErrCompilerLost, lost)
}

// store makes an entry of what the compiler left in the folder work.
func (c *Cache) store(dir *tempDir, work, key string, hash [sha256.Size]byte, p prepared, done compiled) (Image, error) {
	code, err := onlyFile(filepath.Join(work, codeFolder))
	if err != nil {
		return Image{}, err
	}
	name, err := onlyFile(filepath.Join(work, skeletonFolder))
	if err != nil {
		return Image{}, err
	}
	m := manifest{
		Key: key, Hash: hex.EncodeToString(hash[:]), Traits: p.traits, CodeName: wazeroFolder() + "/" + name,
		Report: p.report, CompileTime: done.CompileTime, CompileMemory: done.MemoryBytes,
	}
	if !codeNameValid(m.CodeName) {
		return Image{}, fmt.Errorf("%w: it named its code %q", ErrCompilerLost, name)
	}
	entry := filepath.Join(dir.path, "entry")
	if err := m.fill(entry, filepath.Join(work, codeFolder, wazeroFolder(), code), p.skeleton); err != nil {
		return Image{}, fmt.Errorf("write entry of the code cache: %w", err)
	}
	if err := c.publish(entry, key, hash); err != nil {
		return Image{}, fmt.Errorf("store entry in the code cache: %w", err)
	}
	return m.image(c.entryDir(key), hash, false), nil
}

// fill writes the entry's files and completes the manifest.
func (m *manifest) fill(entry, code string, skeleton []byte) error {
	if err := os.Mkdir(entry, 0o700); err != nil {
		return err
	}
	// A copy, because the child may still hold the original open for writing.
	if err := copyFile(code, filepath.Join(entry, codeFile)); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(entry, skeletonFile), skeleton); err != nil {
		return err
	}
	var err error
	if m.Code, err = sumFile(filepath.Join(entry, codeFile)); err != nil {
		return err
	}
	if m.Skeleton, err = sumFile(filepath.Join(entry, skeletonFile)); err != nil {
		return err
	}
	if err := m.write(filepath.Join(entry, manifestFile)); err != nil {
		return err
	}
	return syncPath(entry)
}

// publish moves the entry to its place. When another process was faster its
// entry is as good.
func (c *Cache) publish(entry, key string, hash [sha256.Size]byte) error {
	to := c.entryDir(key)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	for {
		err := os.Rename(entry, to)
		if err == nil {
			return syncPath(filepath.Dir(to))
		}
		if _, e := readEntry(to, key, hash); e == nil {
			return nil
		} else if !errors.Is(err, os.ErrExist) {
			return err
		}
		if err := c.discard(to); err != nil {
			return err
		}
	}
}

// syncPath makes a file or folder last.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// onlyFile returns the name of the one file that the engine has left inside
// its folder in dir.
func onlyFile(dir string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, wazeroFolder()))
	if err != nil || len(entries) != 1 || !entries[0].Type().IsRegular() {
		return "", fmt.Errorf("%w: it left %d files of code, want 1", ErrCompilerLost, len(entries))
	}
	return entries[0].Name(), nil
}
