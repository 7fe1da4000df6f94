package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/secret"
)

// guestSecret is a variable of the guest, and the secret that is its value.
type guestSecret struct{ variable, name string }

// guestSecrets reads VARIABLE=SECRET, or a name that is both.
func guestSecrets(flags, env []string) (list []guestSecret, err error) {
	if len(flags) > ledger.JobSecretsMax {
		return nil, usageError("--secret is given %d times, at most %d", len(flags), ledger.JobSecretsMax)
	}
	for _, f := range flags {
		variable, name, both := strings.Cut(f, "=")
		if !both {
			name = variable
		}
		switch {
		case variable == "" || !ledger.ValidSecretName(ledger.SecretName(name)):
			// Somebody may have written the secret itself.
			return nil, usageError("--secret is not VARIABLE=SECRET, or the name alone, of 1 to %d of A-Z, a-z, 0-9 and _, no digit first", ledger.SecretNameBytesMax)
		case slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, variable+"=") }):
			return nil, usageError("--secret %s: is a variable of --env, too: leave one out", printable(variable))
		case slices.ContainsFunc(list, func(s guestSecret) bool { return s.variable == variable }):
			return nil, usageError("--secret %s: is given twice", printable(variable))
		}
		list = append(list, guestSecret{variable, name})
	}
	return list, nil
}

// secretFiles reads SECRET=FILE.
func secretFiles(flags []string, secrets []guestSecret) (map[string]string, error) {
	files := map[string]string{}
	for _, f := range flags {
		name, file, ok := strings.Cut(f, "=")
		switch {
		case !ok || file == "":
			return nil, usageError("--secret-file is not SECRET=FILE")
		case !slices.ContainsFunc(secrets, func(s guestSecret) bool { return s.name == name }):
			return nil, usageError("--secret-file %s: there is no --secret of this name", printable(name))
		}
		files[name] = file
	}
	return files, nil
}

// secretEnv returns the variables of a guest that runs here: their values are those of
// files, or of this process's own environment.
func (a *app) secretEnv(j *job) (env []string, err error) {
	for _, s := range j.secrets {
		value, err := a.secretValue(s.name, j.secretFiles[s.name])
		if err != nil {
			return nil, err
		}
		env = append(env, s.variable+"="+value)
	}
	return env, nil
}

func (a *app) secretValue(name, file string) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", usageError("--secret-file %s: %w", name, inPath(err))
		}
		defer f.Close()
		value, err := readSecretValue(f, "")
		if err != nil {
			return "", usageError("--secret-file %s: %w", name, err)
		}
		return string(value), nil
	}
	if !slices.ContainsFunc(a.Environ, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
		return "", usageError("--secret %s: it runs here, and there is no variable %s: set it, or give --secret-file %s=FILE", name, name, name)
	}
	value := lookup(a.Environ, name)
	if err := secret.Check([]byte(value)); err != nil {
		return "", fmt.Errorf("--secret %s: %w", name, err)
	}
	return value, nil
}
