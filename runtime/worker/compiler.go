package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/dugnad/dugnad/runtime/sandbox"
	"golang.org/x/sys/unix"
)

// Names in the private folder of a child. The compile child leaves the code of
// the module in the first folder and that of the skeleton in the second; the
// name of the file in the second is the one under which the engine looks for
// code when it is given the skeleton.
const (
	codeFolder     = "code"
	skeletonFolder = "skeleton"
)

// cpuLimitMessage is the last word of a compiler whose processor time is used
// up.
const cpuLimitMessage = "processor time used up"

// exitAtCPULimit ends the process when the kernel says that its processor time
// is used up, which it does before it kills.
func exitAtCPULimit() {
	reached := make(chan os.Signal, 1)
	signal.Notify(reached, syscall.SIGXCPU)
	go func() {
		<-reached
		fmt.Fprintln(os.Stderr, cpuLimitMessage)
		os.Exit(3)
	}()
}

// compileServe receives one module and its skeleton and compiles both.
func compileServe(ctx context.Context, s setup, in *frameReader, out *sender) error {
	exitAtCPULimit()
	var parts [2][]byte
	for {
		f, err := in.next()
		if err != nil {
			return fmt.Errorf("read module: %w", err)
		}
		switch {
		case f.kind == frameChunk && f.id < uint32(len(parts)):
			parts[f.id] = append(parts[f.id], f.payload...)
			continue
		case f.kind != frameCompile:
			return fmt.Errorf("%w: frame of type %d is not for a compiler", ErrProtocol, f.kind)
		}
		break
	}
	// The limit on the heap is the garbage collector's only trigger before
	// this; compiling makes much garbage.
	debug.SetGCPercent(100)
	begin := time.Now()
	err := compileParts(ctx, s, parts)
	c := compiled{CompileTime: time.Since(begin), MemoryBytes: peakMemory()}
	if errors.Is(err, sandbox.ErrRefused) {
		c.Error = shorten(strings.TrimPrefix(err.Error(), sandbox.ErrRefused.Error()+": "))
	} else if err != nil {
		return err
	}
	return out.sendJSON(frameCompiled, 0, c)
}

func compileParts(ctx context.Context, s setup, parts [2][]byte) error {
	for i, folder := range []string{codeFolder, skeletonFolder} {
		eng, err := openEngine(ctx, engineConfig{codeDir: filepath.Join(s.Dir, folder), compile: true, workers: s.Workers})
		if err != nil {
			return err
		}
		if _, err := loadModule(ctx, eng, parts[i], Traits{}); err != nil {
			return err
		}
		if err := eng.Close(); err != nil {
			return fmt.Errorf("close engine: %w", err)
		}
		parts[i] = nil
	}
	return nil
}

// peakMemory returns the largest resident size that the process had.
func peakMemory() uint64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return uint64(u.Maxrss) << 10
}
