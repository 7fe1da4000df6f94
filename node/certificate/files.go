package certificate

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookPause is how often the files are looked at, at most.
const lookPause = time.Second

// Files is an operator's own certificate. It is read again when its files have
// changed; while what is there cannot be used the one before stays.
type Files struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	stamp  stamp
	looked time.Time
}

// stamp tells versions of two files apart.
type stamp [2]struct {
	changed time.Time
	size    int64
}

// OpenFiles reads a certificate, with those of the authorities between it and the one
// that clients know, and its private key, both in PEM. log may be nil.
func OpenFiles(cert, key string, log *slog.Logger) (*Files, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &Files{cert: cert, key: key, log: log, now: time.Now}
	var err error
	if f.stamp, err = f.look(); err != nil {
		return nil, fmt.Errorf("open certificate: %w", err)
	}
	if f.loaded, err = f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns the certificate, as tls.Config.GetCertificate wants it.
func (f *Files) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Sub(f.looked) < lookPause && !now.Before(f.looked) {
		return f.loaded, nil
	}
	f.looked = now
	s, err := f.look()
	if err != nil || s == f.stamp {
		return f.loaded, nil // a file that is being replaced will be back
	}
	f.stamp = s
	loaded, err := f.load()
	if err != nil {
		f.log.Warn("the API's new certificate cannot be used, the one before stays", "err", err)
		return f.loaded, nil
	}
	f.log.Info("the API has a new certificate", "until", loaded.Leaf.NotAfter)
	f.loaded = loaded
	return loaded, nil
}

func (f *Files) look() (s stamp, err error) {
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i].changed, s[i].size = info.ModTime(), info.Size()
	}
	return s, nil
}

func (f *Files) load() (*tls.Certificate, error) {
	cert, err := readFile(f.cert)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	key, err := readKey(f.key)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s with key %s: %w", f.cert, f.key, err)
	}
	return &pair, nil
}

// readKey reads a private key, which nobody but its owner and group may.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s: %w: its mode is %04o, make it 0600", path, ErrKeyMode, mode)
	}
	return readFile(path)
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	if err == nil && len(b) > fileBytesMax {
		err = fmt.Errorf("%s is longer than %d bytes", path, fileBytesMax)
	}
	return b, err
}
