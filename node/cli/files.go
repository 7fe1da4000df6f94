package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// readModule reads the module at path, which may have bytesMax bytes. It gives
// up when ctx ends, even where path is a pipe that nobody writes to.
func readModule(ctx context.Context, path string, bytesMax int) ([]byte, error) {
	type result struct {
		module []byte
		err    error
	}
	done := make(chan result, 1)
	go func() {
		module, err := readModuleFile(path, bytesMax)
		done <- result{module, err}
	}()
	select {
	case r := <-done:
		return r.module, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("reading the module %s: %w", path, context.Cause(ctx))
	}
}

func readModuleFile(path string, bytesMax int) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, &exitError{exitNotFound, fmt.Errorf("module %s not found: there is no such file", path)}
	case err != nil:
		return nil, &exitError{exitRefused, fmt.Errorf("module %s cannot be read: %w", path, err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &exitError{exitRefused, fmt.Errorf("module %s cannot be read: %w", path, err)}
	}
	tooLarge := &exitError{exitRefused, fmt.Errorf("module %s refused: it is larger than %s: strip debug information, or read large data from an --input",
		path, formatBytes(uint64(bytesMax)))}
	switch {
	case info.IsDir():
		return nil, &exitError{exitRefused, fmt.Errorf("module %s refused: it is a folder, not a WebAssembly file", path)}
	case info.Mode()&(fs.ModeDevice|fs.ModeSocket) != 0:
		return nil, &exitError{exitRefused, fmt.Errorf("module %s refused: it is a device, not a WebAssembly file", path)}
	case info.Size() > int64(bytesMax):
		return nil, tooLarge
	}
	module, err := readSized(f, info.Size(), bytesMax)
	switch {
	case err != nil:
		return nil, &exitError{exitRefused, fmt.Errorf("module %s cannot be read: %w", path, err)}
	case len(module) > bytesMax:
		return nil, tooLarge
	}
	return module, nil
}

// readSized reads f to its end, or to beyond bytesMax, with a buffer that suits
// a file of that size.
func readSized(f io.Reader, size int64, bytesMax int) ([]byte, error) {
	module := make([]byte, 0, min(max(size, 0), int64(bytesMax))+1)
	for len(module) <= bytesMax {
		if len(module) == cap(module) {
			module = append(module, 0)[:len(module)]
		}
		n, err := f.Read(module[len(module):cap(module)])
		module = module[:len(module)+n]
		if errors.Is(err, io.EOF) {
			return module, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return module, nil
}

// makeDataDir creates the data folder, or checks that it is this user's alone:
// machine code is kept there.
func makeDataDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("creating the data folder: %w: name another with --data-dir", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("opening the data folder: %w: name another with --data-dir", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("the data folder %s belongs to user %d, who could put machine code there: name another with --data-dir", path, st.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the data folder %s can be written by others (mode %04o), who could put machine code there: chmod 700 it, or name another with --data-dir",
			path, info.Mode().Perm())
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("writing to the data folder %s: %w: name another with --data-dir", path, err)
	}
	return nil
}

// output is where the guest's stdout goes: a file, or dugnad's own stdout when
// file is nil.
type output struct{ file *os.File }

// openOutput opens the file of --output, so that a path that cannot be written
// is found before a long compile. What is in it stays until begin.
func openOutput(path string) (*output, error) {
	if path == "" {
		return &output{}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("opening --output: %w", err)
	}
	return &output{file: f}, nil
}

// begin empties the file and returns it, or own when there is no file.
func (o *output) begin(own io.Writer) (io.Writer, error) {
	if o.file == nil {
		return own, nil
	}
	info, err := o.file.Stat()
	if err == nil && info.Mode().IsRegular() {
		err = o.file.Truncate(0)
	}
	if err != nil {
		return nil, fmt.Errorf("emptying --output: %w", err)
	}
	return o.file, nil
}

func (o *output) close() error {
	if o.file == nil {
		return nil
	}
	if err := o.file.Close(); err != nil {
		return fmt.Errorf("closing --output: %w", err)
	}
	return nil
}

// openStdin opens one task's stdin; the caller closes it.
func (j *job) openStdin(own io.Reader) (io.ReadCloser, error) {
	switch j.stdin {
	case "":
		return io.NopCloser(strings.NewReader("")), nil
	case "-":
		if f, ok := own.(*os.File); ok {
			return borrowed{f}, nil
		}
		return io.NopCloser(own), nil
	default:
		f, err := os.Open(j.stdin)
		if err != nil {
			return nil, fmt.Errorf("opening --stdin: %w", err)
		}
		return f, nil
	}
}

// borrowed is a file that somebody else closes.
type borrowed struct{ *os.File }

func (borrowed) Close() error { return nil }

// arrives says whether r is a terminal, pipe or socket, whose data arrives in
// pieces. Somebody may wait for an answer before sending the next one, so a
// read has to return what is there. A file is read as much as was asked for:
// neither results nor fuel depend on how that was cut.
func arrives(r io.Reader) bool {
	f, ok := r.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && !info.Mode().IsRegular()
}
