// Package certificate makes and checks what a node's API is known by: a certificate
// that the node signs itself and that says, with the node's membership and a
// signature by the node's key, of which grid's member it is. Nobody else has to
// sign it, so it is there as soon as the node is, and without any other node.
//
// An operator's own certificate takes its place: see OpenFiles.
package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

const (
	// KeyName and Name are the files in the node's folder: the private key, which stays,
	// and the certificate, which is made anew.
	KeyName = "api.key"
	Name    = "api.crt"
	// lifetime is how long a certificate is good, and renewal how long before its end
	// the next one is made.
	lifetime = 365 * 24 * time.Hour
	renewal  = 30 * 24 * time.Hour
	// backdating lets clients in whose clocks are behind.
	backdating = time.Hour
	// retryPause is how long a certificate that cannot be made is not tried again, while
	// the one before is good.
	retryPause = time.Minute
	// fileBytesMax bounds a file that is read.
	fileBytesMax = 1 << 20
)

// ErrKeyMode is returned by Open and OpenFiles for a private key that others may read.
var ErrKeyMode = errors.New("private key can be read by others")

// Node is who the certificate is about.
type Node interface {
	Membership() *p2p.Membership
	Sign(message []byte) ([]byte, error)
}

// Own is the certificate that a node makes itself.
type Own struct {
	dir   string
	node  Node
	names []string
	now   func() time.Time
	key   *ecdsa.PrivateKey

	mu   sync.Mutex
	made *tls.Certificate
	// of is the membership that made is about, tried when the next one was last tried.
	of    *p2p.Membership
	tried time.Time
}

// Open loads the key that is kept in dir, or makes it, and a certificate for it. names
// are hosts and addresses by which clients call the node besides localhost and the
// machine's name; 0.0.0.0 and :: stand for all addresses of this machine.
func Open(dir string, node Node, names []string) (*Own, error) {
	o := &Own{dir: dir, node: node, names: names, now: time.Now}
	var err error
	if o.key, err = loadOrMakeKey(filepath.Join(dir, KeyName)); err != nil {
		return nil, fmt.Errorf("open the API's certificate: %w", err)
	}
	if _, err := o.Get(nil); err != nil {
		return nil, fmt.Errorf("open the API's certificate: %w", err)
	}
	return o, nil
}

// Get returns the certificate, as tls.Config.GetCertificate wants it. One that is near
// its end, or about a membership that was renewed, is made anew, with the same key.
func (o *Own) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if o.made != nil {
		current := o.of == o.node.Membership() && now.Before(o.made.Leaf.NotAfter.Add(-renewal))
		if current || now.Sub(o.tried).Abs() < retryPause {
			return o.made, nil
		}
	}
	o.tried = now
	made, err := o.remake(now)
	switch {
	case err == nil:
		o.made = made
	case o.made == nil || now.After(o.made.Leaf.NotAfter):
		return nil, fmt.Errorf("make the API's certificate: %w", err)
	}
	return o.made, nil
}

// remake makes a certificate and the file of it.
func (o *Own) remake(now time.Time) (*tls.Certificate, error) {
	o.of = o.node.Membership()
	made, err := o.make(now)
	if err != nil {
		return nil, err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Leaf.Raw})
	return made, writeFile(filepath.Join(o.dir, Name), block, 0o644)
}

// Fingerprint is the SHA-256 of the public key, as curl's --pinnedpubkey takes it:
// sha256// and base64.
func (o *Own) Fingerprint() string {
	der, err := x509.MarshalPKIXPublicKey(o.key.Public())
	if err != nil {
		panic(err) // the key is on P-256
	}
	sum := sha256.Sum256(der)
	return "sha256//" + base64.StdEncoding.EncodeToString(sum[:])
}

func (o *Own) make(now time.Time) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	until := now.Add(lifetime).Truncate(time.Second)
	who, err := identify(o.node, o.key.Public(), until)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Dugnad node " + string(o.of.Node)},
		NotBefore: now.Add(-backdating), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, URIs: []*url.URL{who},
	}
	template.DNSNames, template.IPAddresses = sites(o.names)
	der, err := x509.CreateCertificate(rand.Reader, template, template, o.key.Public(), o.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: o.key, Leaf: leaf}, err
}

// sites sorts what this machine is called by into names and addresses. An unspecified
// address stands for all of this machine's.
func sites(names []string) (hosts []string, addresses []net.IP) {
	names = append([]string{"localhost", "127.0.0.1", "::1"}, names...)
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
	}
	if slices.ContainsFunc(names, func(n string) bool { ip := net.ParseIP(n); return ip != nil && ip.IsUnspecified() }) {
		names = append(names, interfaces()...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if ip := net.ParseIP(name); ip == nil && isHost(name) {
			hosts = append(hosts, name)
		} else if ip != nil && !ip.IsUnspecified() {
			addresses = append(addresses, ip)
		}
	}
	return hosts, addresses
}

// interfaces lists this machine's addresses.
func interfaces() (out []string) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil // who calls it by its address only has the pin
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			out = append(out, n.IP.String())
		}
	}
	return out
}

// isHost says whether a certificate can hold the name.
func isHost(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// loadOrMakeKey returns the key in a file. P-256, as no browser takes Ed25519, which
// the node's own key is.
func loadOrMakeKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := readKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeKey(path)
	case err != nil:
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("read %s: it is no key in PEM: remove it, and the node makes a new one", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: remove it, and the node makes a new one", path, err)
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok || own.Curve != elliptic.P256() {
		return nil, fmt.Errorf("read %s: it is not a key on P-256: for a key of your own use --api-key", path)
	}
	return own, nil
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// writeFile puts b in the place of a file, so that the old or the new content is there.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.Write(b)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
