package content

import (
	"cmp"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// scan makes the index from the directories and sweeps what has no place in
// it. Only names and lengths are read; an object's content is verified when it
// is used.
func (s *Store) scan(ctx context.Context) error {
	if err := s.sweep(); err != nil {
		return err
	}
	if err := s.scanDir(ctx, objectsDir, s.objects); err != nil {
		return err
	}
	if err := s.scanDir(ctx, partialDir, s.partials); err != nil {
		return err
	}
	for h, e := range s.partials {
		if s.objects[h] != nil {
			delete(s.partials, h)
			s.account(e, -1)
			if err := os.Remove(s.path(e)); err != nil {
				return err
			}
		}
	}
	// The names found may not be on disk yet, if the machine did not go down
	// since they were given.
	return syncDir(s.dir(objectsDir))
}

// sweep empties the folder of temporary files.
func (s *Store) sweep() error {
	names, err := os.ReadDir(s.dir(tempDir))
	if err != nil {
		return err
	}
	for _, n := range names {
		if foreign(n.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir(tempDir), n.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) scanDir(ctx context.Context, name string, into map[Hash]*entry) error {
	files, err := os.ReadDir(s.dir(name))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if foreign(f.Name()) {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return err
		}
		e, ok := entryOf(info)
		if !ok {
			s.log.Warn("file in the content store is no object, removed", "folder", name, "file", f.Name(), "bytes", info.Size())
			if err := os.RemoveAll(filepath.Join(s.dir(name), f.Name())); err != nil {
				return err
			}
			continue
		}
		e.partial = name == partialDir
		into[e.hash] = e
		s.account(e, 1)
	}
	return nil
}

// entryOf reads what a file's name and length say.
func entryOf(info fs.FileInfo) (*entry, bool) {
	h, err := ParseHash(info.Name())
	if err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	size, err := objectBytes(info.Size())
	if err != nil {
		return nil, false
	}
	at := info.ModTime()
	return &entry{hash: h, size: size, durable: true, accessed: at, noted: at}, true
}

// account adds or takes e's file to what is counted.
func (s *Store) account(e *entry, sign int64) {
	s.used += sign * fileBytes(e.size)
	s.files += int(sign)
}

// rank orders what may be evicted after a start.
func (s *Store) rank() {
	var all []*entry
	for _, m := range []map[Hash]*entry{s.objects, s.partials} {
		for _, e := range m {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(a.accessed.Compare(b.accessed), slices.Compare(a.hash[:], b.hash[:]))
	})
	for _, e := range all {
		s.settle(e)
	}
}
