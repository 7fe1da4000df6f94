package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/dugnad/dugnad/node/jobspec"
)

// uploadFunc keeps what r has and returns its hash.
type uploadFunc func(ctx context.Context, r io.Reader) (jobspec.Hash, error)

// uploadPath uploads a file, or a folder as an archive.
func uploadPath(ctx context.Context, name string, folder bool, upload uploadFunc) (jobspec.Hash, error) {
	if folder {
		return uploadFolder(ctx, name, upload)
	}
	f, err := os.Open(name)
	if err != nil {
		return jobspec.Hash{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return jobspec.Hash{}, fmt.Errorf("%s is a folder: write folder: true", name)
	}
	return upload(ctx, f)
}

func uploadFolder(ctx context.Context, name string, upload uploadFunc) (jobspec.Hash, error) {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, name)
		_ = w.CloseWithError(err) // it never fails
		packed <- err
	}()
	h, err := upload(ctx, r)
	_ = r.CloseWithError(errUploaded) // it never fails
	if wrong := <-packed; wrong != nil && !errors.Is(wrong, errUploaded) {
		return h, wrong
	}
	return h, err
}

// errUploaded ends the packing of a folder that nobody takes any more.
var errUploaded = errors.New("the upload has ended")

// pack writes a folder as a tar archive. The same names and contents give the same
// bytes: times, owners and modes are left out. A link to a file within the folder
// is that file; what else is neither file nor folder is refused.
func pack(w io.Writer, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("opening the folder %s: %w", folder, err)
	}
	defer func() { _ = root.Close() }() // it holds nothing
	archive := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir():
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Format: tar.FormatPAX})
		}
		return packFile(archive, root, name)
	})
	if err != nil {
		return fmt.Errorf("packing the folder %s: %w", folder, err)
	}
	return archive.Close()
}

func packFile(archive *tar.Writer, root *os.Root, name string) error {
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file, nor a folder, nor a link to a file in it", path.Base(name))
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: info.Size(), Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := io.CopyN(archive, f, info.Size()); err != nil {
		return fmt.Errorf("reading %s, which had %d bytes: %w", name, info.Size(), err)
	}
	return nil
}
