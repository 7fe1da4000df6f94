package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/dugnad/dugnad/runtime/lint"
	"github.com/dugnad/dugnad/runtime/meter"
	"golang.org/x/sys/cpu"
)

// entryVersion numbers the format of entries and whatever else in this package
// makes an old one useless.
const entryVersion = 1

// manifest describes an entry. It is written as an envelope with a checksum.
type manifest struct {
	Key           string        `json:"key"`
	Hash          string        `json:"hash"`
	Traits        Traits        `json:"traits"`
	CodeName      string        `json:"code_name"`
	Code          fileSum       `json:"code"`
	Skeleton      fileSum       `json:"skeleton"`
	Report        lint.Report   `json:"report"`
	CompileTime   time.Duration `json:"compile_ns"`
	CompileMemory uint64        `json:"compile_memory_bytes"`
}

// fileSum is what a file must be. XXH64 finds damage, not malice: the cache is
// private to its user, and the child that compiles cannot write to it.
type fileSum struct {
	Bytes int64  `json:"bytes"`
	XXH64 string `json:"xxh64"`
}

type envelope struct {
	XXH64    string          `json:"xxh64"`
	Manifest json.RawMessage `json:"manifest"`
}

// manifestBytesMax bounds what is read of a manifest.
const manifestBytesMax = 64 << 10

// errDamaged is wrapped by the errors of entries that are not what they were
// when they were made.
var errDamaged = errors.New("damaged entry")

// entryKey names the entry of a module on a machine like this one.
func entryKey(module [sha256.Size]byte) string {
	h := sha256.New()
	h.Write(module[:])
	h.Write([]byte(machine()))
	return hex.EncodeToString(h.Sum(nil))
}

// machine names everything besides the module that the code depends on.
var machine = sync.OnceValue(func() string {
	return fmt.Sprintf("entry %d, lint %d, meter %d, wazero %s, %s/%s, cpu %+v %+v", entryVersion, lint.Version, meter.Version,
		wazeroVersion(), runtime.GOOS, runtime.GOARCH, cpu.X86, cpu.ARM64)
})

// wazeroModule is the engine's module path.
const wazeroModule = "github.com/tetratelabs/wazero"

// wazeroVersion is the engine's version as the engine itself finds it out.
var wazeroVersion = sync.OnceValue(func() string {
	version := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if strings.Contains(d.Path, wazeroModule) {
				version = d.Version
			}
		}
		if version == "" || version == "(devel)" {
			version = info.Main.Version
		}
	}
	if version == "" || version == "(devel)" {
		return "dev"
	}
	return version
})

// wazeroFolder is the folder that the engine uses inside its code folder.
func wazeroFolder() string {
	return "wazero-" + wazeroVersion() + "-" + runtime.GOARCH + "-" + runtime.GOOS
}

// stampSection is the name of the custom section that makes skeletons differ.
const stampSection = "dugnad_module"

// stamp appends the module's hash to its skeleton as a custom section. The
// engine tells modules apart by their bytes, and the skeletons of two modules
// that differ in code alone are the same.
func stamp(skeleton []byte, hash [sha256.Size]byte) []byte {
	body := append([]byte{byte(len(stampSection))}, stampSection...)
	body = append(body, hash[:]...)
	out := append(skeleton[:len(skeleton):len(skeleton)], 0)
	out = binary.AppendUvarint(out, uint64(len(body)))
	return append(out, body...)
}

func (c *Cache) entryDir(key string) string {
	return filepath.Join(c.config.Dir, entriesFolder, key[:2], key)
}

// lookUp returns the image of an entry after it has verified every byte. A
// damaged entry is removed.
func (c *Cache) lookUp(key string, hash [sha256.Size]byte) (Image, bool) {
	dir := c.entryDir(key)
	img, err := readEntry(dir, key, hash)
	switch {
	case err == nil:
		c.touch(dir)
		return img, true
	case errors.Is(err, os.ErrNotExist):
		if _, e := os.Stat(dir); errors.Is(e, os.ErrNotExist) {
			return Image{}, false
		}
	}
	c.metrics.cacheDamaged.Inc()
	c.log.Warn("damaged entry removed from the code cache", "module", hex.EncodeToString(hash[:]), "error", err)
	if err := c.discard(dir); err != nil {
		c.log.Error("damaged entry cannot be removed from the code cache", "folder", dir, "error", err)
	}
	return Image{}, false
}

// touchInterval is how exact the time of the last use is.
const touchInterval = 20 * time.Second

// touch notes the use of an entry.
func (c *Cache) touch(dir string) {
	info, err := os.Stat(dir)
	if now := time.Now(); err == nil && now.Sub(info.ModTime()) > touchInterval {
		// An entry that is evicted too early is made again.
		_ = os.Chtimes(dir, now, now)
	}
}

// discard moves an entry out of the way and removes it.
func (c *Cache) discard(dir string) error {
	trash, err := os.MkdirTemp(c.TempDir(), "trash-")
	if err != nil {
		return err
	}
	err = os.Rename(dir, filepath.Join(trash, "entry"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil // another process was faster
	}
	return errors.Join(err, os.RemoveAll(trash))
}

// readEntry reads and verifies an entry.
func readEntry(dir, key string, hash [sha256.Size]byte) (Image, error) {
	m, err := readManifest(filepath.Join(dir, manifestFile))
	if err != nil {
		return Image{}, err
	}
	if m.Key != key || m.Hash != hex.EncodeToString(hash[:]) || !codeNameValid(m.CodeName) {
		return Image{}, fmt.Errorf("%w: manifest is of another module", errDamaged)
	}
	if err := m.Code.verify(filepath.Join(dir, codeFile)); err != nil {
		return Image{}, err
	}
	if err := m.Skeleton.verify(filepath.Join(dir, skeletonFile)); err != nil {
		return Image{}, err
	}
	return m.image(dir, hash, true), nil
}

func (m *manifest) image(dir string, hash [sha256.Size]byte, cached bool) Image {
	return Image{
		Hash: hash, Report: m.Report, CompileTime: m.CompileTime, CompileMemoryBytes: m.CompileMemory,
		CodeBytes: m.Code.Bytes, Cached: cached, traits: m.Traits, key: m.Key, dir: dir, codeName: m.CodeName,
	}
}

// codeNameValid tells whether a name is FOLDER/HEX of this engine.
func codeNameValid(name string) bool {
	folder, file := filepath.Split(name)
	raw, err := hex.DecodeString(file)
	return folder == wazeroFolder()+"/" && err == nil && len(raw) == sha256.Size
}

func readManifest(path string) (*manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, manifestBytesMax+1))
	if err != nil {
		return nil, err
	}
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil || len(data) > manifestBytesMax {
		return nil, fmt.Errorf("%w: manifest is not readable", errDamaged)
	}
	if e.XXH64 != sumHex(xxhash.Sum64(e.Manifest)) {
		return nil, fmt.Errorf("%w: checksum of the manifest", errDamaged)
	}
	var m manifest
	if err := json.Unmarshal(e.Manifest, &m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", errDamaged, err)
	}
	return &m, nil
}

func (m *manifest) write(path string) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	data, err := json.Marshal(envelope{XXH64: sumHex(xxhash.Sum64(raw)), Manifest: raw})
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// writeFile writes a file that nobody shall change and makes it last.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func sumHex(sum uint64) string { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, sum)) }

// sumBufferBytes fits into a core's own cache.
const sumBufferBytes = 128 << 10

// sumFile reads a file and returns what it is.
func sumFile(path string) (fileSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileSum{}, err
	}
	defer f.Close()
	var h hash.Hash64 = xxhash.New()
	n := int64(0)
	for buf := make([]byte, sumBufferBytes); ; {
		k, err := f.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		if errors.Is(err, io.EOF) {
			return fileSum{n, sumHex(h.Sum64())}, nil
		} else if err != nil {
			return fileSum{}, err
		}
	}
}

// verify reports whether the file at path is what it was.
func (s fileSum) verify(path string) error {
	got, err := sumFile(path)
	if err != nil {
		return err
	}
	if got != s {
		return fmt.Errorf("%w: %s is %d bytes with checksum %s, want %d with %s", errDamaged,
			filepath.Base(path), got.Bytes, got.XXH64, s.Bytes, s.XXH64)
	}
	return nil
}
