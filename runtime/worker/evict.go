package worker

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// freshAge is how long after its last use an entry is safe from eviction: the
// one who asked for its image is about to run it.
const freshAge = time.Minute

// entryInfo is an entry as eviction sees it.
type entryInfo struct {
	key, dir string
	bytes    uint64
	used     time.Time
}

// evict removes the entries that were used least recently until the cache is
// no larger than it may be. The entry named keep stays.
func (c *Cache) evict(keep string) {
	entries, err := c.entries()
	if err != nil {
		c.log.Error("code cache cannot be listed", "error", err)
		return
	}
	total := uint64(0)
	for _, e := range entries {
		total += e.bytes
	}
	slices.SortFunc(entries, func(a, b entryInfo) int { return a.used.Compare(b.used) })
	for _, e := range entries {
		if total <= c.config.CacheBytesMax {
			break
		}
		if e.key == keep || time.Since(e.used) < freshAge {
			continue
		}
		if err := c.discard(e.dir); err != nil {
			c.log.Error("entry cannot be evicted from the code cache", "folder", e.dir, "error", err)
			continue
		}
		c.metrics.cacheEvictions.Inc()
		c.metrics.limitReached("code_cache")
		total -= e.bytes
	}
	c.metrics.cacheBytes.Set(float64(total))
}

// entries lists the cache. What vanishes meanwhile is left out.
func (c *Cache) entries() ([]entryInfo, error) {
	root := filepath.Join(c.config.Dir, entriesFolder)
	shelves, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, shelf := range shelves {
		books, err := os.ReadDir(filepath.Join(root, shelf.Name()))
		if err != nil {
			continue
		}
		for _, b := range books {
			dirs = append(dirs, filepath.Join(root, shelf.Name(), b.Name()))
		}
	}
	out := make([]entryInfo, 0, len(dirs))
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil {
			continue
		}
		e := entryInfo{key: filepath.Base(dir), dir: dir, used: info.ModTime()}
		for _, name := range []string{codeFile, skeletonFile, manifestFile} {
			if f, err := os.Stat(filepath.Join(dir, name)); err == nil {
				e.bytes += uint64(f.Size())
			}
		}
		out = append(out, e)
	}
	return out, nil
}
