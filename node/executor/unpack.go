package executor

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dugnad/dugnad/p2p/content"
)

const (
	// nameBytesMax bounds the path of a file in an archive, depthMax its folders.
	nameBytesMax = 1024
	depthMax     = 64
	// fileCost is what a file or folder counts beside its bytes.
	fileCost = 1 << 10
)

// unpack unpacks a tar archive into a new folder. It takes files and folders
// only, none of them outside of it or twice: anything else, and an archive that
// is no archive, is ErrInput. Its bytes and its files are bounded.
func (in *inputs) unpack(ctx context.Context, p *placement, o *content.Object, name string) error {
	if err := o.Verify(); err != nil {
		return err
	}
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // it holds nothing
	archive := tar.NewReader(&interruptible{ctx, io.NewSectionReader(o, 0, o.Size())})
	for files := 1; ; files++ {
		h, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("%w: read archive: %w", ErrInput, err)
		case files > in.config.InputFilesMax:
			return fmt.Errorf("%w: the archive has more than %d files", ErrInput, in.config.InputFilesMax)
		}
		if err := in.unpackOne(p, root, h, archive); err != nil {
			return err
		}
	}
}

func (in *inputs) unpackOne(p *placement, root *os.Root, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name := path.Clean(strings.TrimSuffix(h.Name, "/"))
	switch {
	case len(h.Name) > nameBytesMax || strings.Count(name, "/") >= depthMax:
		return fmt.Errorf("%w: path %.40q… in the archive is too long or too deep", ErrInput, h.Name)
	case !filepath.IsLocal(name) || strings.Contains("/"+h.Name+"/", "/../") || strings.ContainsAny(h.Name, "\x00\\"):
		return fmt.Errorf("%w: path %q in the archive does not stay inside of it", ErrInput, h.Name)
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
		return fmt.Errorf("%w: %q in the archive is neither a file nor a folder", ErrInput, h.Name)
	}
	if err := in.grow(p, h.Size+fileCost*int64(1+strings.Count(name, "/"))); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir && name == "." {
		return nil
	}
	if h.Typeflag == tar.TypeDir {
		return clash(h.Name, root.MkdirAll(name, 0o700))
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return clash(h.Name, err)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return clash(h.Name, err)
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: the archive is cut off", ErrInput)
		}
		return err
	}
	return f.Close()
}

// clash tells a path that is in the archive twice from what is wrong with this
// node.
func clash(name string, err error) error {
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %q is in the archive twice", ErrInput, name)
	}
	return err
}
