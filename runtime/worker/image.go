package worker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/dugnad/dugnad/runtime/lint"
)

// Image is a module that is ready to run: checked, metered and compiled. It
// refers to files of the Cache that made it, and is of use as long as the cache
// keeps them: get it anew for every task, that is what makes them stay.
type Image struct {
	// Hash is the SHA-256 of the module.
	Hash [sha256.Size]byte
	// Report is what lint found.
	Report lint.Report
	// CompileTime and CompileMemoryBytes are what compiling took, once.
	CompileTime        time.Duration
	CompileMemoryBytes uint64
	// CodeBytes is the size of the machine code.
	CodeBytes int64
	// Cached tells that nothing had to be compiled.
	Cached bool

	traits Traits
	// key names the entry, dir is where it lies.
	key, dir string
	// codeName is where the engine looks for the code, inside its code folder.
	codeName string
}

// errImage is wrapped by the errors of images that cannot be loaded.
var errImage = errors.New("image not loaded")

// imageTable is what the child has loaded.
type imageTable struct {
	max int

	mu     sync.Mutex
	byKey  map[string]*loadedImage
	byID   map[uint32]*loadedImage
	nextID uint32
	clock  uint64
	// freed is closed, and replaced, when an image is used no more.
	freed chan struct{}
}

// loadedImage is an image in the child.
type loadedImage struct {
	id  uint32
	key string
	// files are what the child's folder holds of it.
	files []string
	uses  int
	used  uint64 // the table's clock at the last use
	// ready is closed when the child has answered or is gone.
	ready    chan struct{}
	answered bool
	timeout  time.Duration
}

func (t *imageTable) init(most int) {
	t.max, t.byKey, t.byID = most, map[string]*loadedImage{}, map[uint32]*loadedImage{}
	t.freed = make(chan struct{})
}

// acquire returns the image in the child, which may still be loading it.
func (w *Worker) acquire(ctx context.Context, image Image) (*loadedImage, error) {
	t := &w.images
	for {
		t.mu.Lock()
		t.clock++
		if img := t.byKey[image.key]; img != nil {
			img.uses++
			img.used = t.clock
			t.mu.Unlock()
			return img, nil
		}
		if len(t.byKey) < t.max || w.evict() {
			img, err := w.loadLocked(image)
			t.mu.Unlock()
			return img, err
		}
		freed := t.freed
		t.mu.Unlock()
		w.metrics.limitReached("images")
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-w.gone:
			return nil, w.lostErr
		}
	}
}

// evict unloads the image that was used least recently; it reports false when
// all are in use. The table is locked.
func (w *Worker) evict() bool {
	t := &w.images
	var oldest *loadedImage
	for _, img := range t.byKey {
		if img.uses == 0 && (oldest == nil || img.used < oldest.used) {
			oldest = img
		}
	}
	if oldest == nil {
		return false
	}
	delete(t.byKey, oldest.key)
	delete(t.byID, oldest.id)
	// An error means that the child is gone.
	_ = w.process.out.send(frameUnload, oldest.id, nil)
	for _, f := range oldest.files {
		// A file that stays takes room until the worker is closed.
		_ = os.Remove(f)
	}
	return true
}

// loadLocked puts the image's files into the child's folder and tells it to
// load them. The table is locked.
func (w *Worker) loadLocked(image Image) (*loadedImage, error) {
	t := &w.images
	if image.key == "" {
		return nil, fmt.Errorf("%w: it was not made by a cache", errImage)
	}
	t.nextID++
	img := &loadedImage{
		id: t.nextID, key: image.key, uses: 1, used: t.clock,
		ready: make(chan struct{}), timeout: loadTimeout(image.CodeBytes),
	}
	file := "module-" + strconv.FormatUint(uint64(img.id), 10)
	for from, to := range map[string]string{codeFile: filepath.Join(codeFolder, image.codeName), skeletonFile: file} {
		to = filepath.Join(w.dir.path, to)
		if err := w.place(filepath.Join(image.dir, from), to); err != nil {
			return nil, err
		}
		img.files = append(img.files, to)
	}
	t.byKey[img.key], t.byID[img.id] = img, img
	if err := w.process.out.sendJSON(frameLoad, img.id, load{File: file, Traits: image.traits}); err != nil {
		w.process.killFor(err)
	}
	return img, nil
}

// place makes a file of the cache appear in the child's folder. Where nothing
// but file modes would keep the child from writing to it, it gets a copy.
func (w *Worker) place(from, to string) error {
	err := errors.ErrUnsupported
	if w.report.FilesConfined() {
		err = os.Link(from, to)
	}
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: the code cache has dropped it meanwhile", errImage)
	}
	if err := copyFile(from, to); err != nil {
		return fmt.Errorf("%w: %w", errImage, err)
	}
	return nil
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, dst.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	_, err = io.Copy(dst, src)
	return err
}

// answered handles the child's answer to a load.
func (t *imageTable) answered(f frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	img := t.byID[f.id]
	if img == nil {
		// It was unloaded before it was loaded.
		return nil
	}
	if img.answered {
		return fmt.Errorf("%w: image %d is answered twice", ErrProtocol, f.id)
	}
	img.answered = true
	if f.kind == frameRefused {
		// The tasks that wait for it get their outcomes from the child; the
		// next one tries again.
		delete(t.byKey, img.key)
		delete(t.byID, img.id)
	}
	close(img.ready)
	return nil
}

// release tells that a task has ended.
func (t *imageTable) release(img *loadedImage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if img.uses--; img.uses == 0 {
		close(t.freed)
		t.freed = make(chan struct{})
	}
}

// lost ends every wait for an answer.
func (t *imageTable) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, img := range t.byID {
		if !img.answered {
			img.answered = true
			close(img.ready)
		}
	}
}

// wait returns when the image is loaded or the task is done; the error tells
// that loading took too long.
func (img *loadedImage) wait(done <-chan struct{}) error {
	select {
	case <-img.ready:
		return nil
	default:
	}
	timer := time.NewTimer(img.timeout)
	defer timer.Stop()
	select {
	case <-img.ready:
	case <-done:
	case <-timer.C:
		return fmt.Errorf("loading a module took longer than %s", img.timeout)
	}
	return nil
}
