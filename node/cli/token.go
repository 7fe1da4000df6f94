package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/warrant"
)

// environToken has a tenant's token. There is no flag for it: whoever is on this
// machine can list the arguments of processes.
const environToken = environPrefix + "TOKEN"

var (
	errTokenMode = errors.New("others may read it: chmod 600 it")
	errTokenFile = errors.New("it is no file with a token")
)

// registerToken adds the flag that names a file with a token.
func registerToken(fs *pflag.FlagSet, to *string) {
	fs.StringVar(to, "token-file", "", "* `file` with a tenant's token, which only its owner may read (or set "+environToken+" to the token)")
	setting(fs, "token-file")
}

// readToken returns the text of the token that there is, or "" when there is none.
func readToken(path string, environ []string) (string, error) {
	text := lookup(environ, environToken)
	switch {
	case text != "" && path != "":
		return "", usageError("--token-file and %s both name a token: leave one out", environToken)
	case path != "":
		var err error
		if text, err = readTokenFile(path); err != nil {
			return "", usageError("--token-file %s: %w", path, err)
		}
	case text == "":
		return "", nil
	}
	if _, err := warrant.Parse(text); err != nil {
		return "", usageError("%w", err)
	}
	return text, nil
}

// tokenFileBytesMax bounds a file with a token.
const tokenFileBytesMax = 128 << 10

func readTokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", inPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", errTokenFile
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%w: its mode is %04o", errTokenMode, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, tokenFileBytesMax))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", errTokenFile
	}
	return text, nil
}

// inPath drops the path of an error, which is said already.
func inPath(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// writeToken prints a token, or writes it to a new file that only its owner may read.
func (a *app) writeToken(t warrant.Token, path string) error {
	if path == "" {
		_, err := fmt.Fprintln(a.Out, t.Text())
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the token to %s: %w", path, inPath(err))
	}
	_, err = fmt.Fprintln(f, t.Text())
	return errors.Join(err, f.Sync(), f.Close())
}
