package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/jobspec"
)

const (
	environPrefix = "DUGNAD_"
	// settingAnnotation marks the flags that the environment and the
	// configuration file may set too, under the same name.
	settingAnnotation = "dugnad-setting"
)

// guestEnviron lists the variables with environPrefix that are for guests:
// dugnad finds them set when it runs inside one of its own tasks' environment.
var guestEnviron = []string{environIndex, environCount, jobspec.EnvironJob, jobspec.EnvironAttempt}

// shellEnviron lists those that are for cobra: the scripts which complete a command
// line for fish and PowerShell set the first, whoever wants no descriptions the other.
var shellEnviron = []string{environPrefix + "ACTIVE_HELP", environPrefix + "COMPLETION_DESCRIPTIONS"}

// setting makes the named flags of fs settable by environment and file.
func setting(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		fs.Lookup(name).Annotations = map[string][]string{settingAnnotation: {"true"}}
	}
}

// settings lists the names of all settings of all commands below root.
func settings(root *cobra.Command) []string {
	var names []string
	visit := func(f *pflag.Flag) {
		if _, ok := f.Annotations[settingAnnotation]; ok && !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	root.PersistentFlags().VisitAll(visit)
	for _, c := range root.Commands() {
		c.Flags().VisitAll(visit)
	}
	slices.Sort(names)
	return names
}

// environName is the variable that sets a setting.
func environName(name string) string {
	return environPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// configure gives each setting of cmd that no flag has set the value that the
// environment gives, or else the configuration file.
func configure(cmd *cobra.Command, environ []string) error {
	known := settings(cmd.Root())
	if err := checkEnviron(environ, known); err != nil {
		return err
	}
	path, fromFile, err := readConfig(cmd, environ, known)
	if err != nil {
		return err
	}
	fromEnviron := koanf.New(".")
	if err := fromEnviron.Load(env.Provider(".", env.Opt{
		Prefix:      environPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(k, v string) (string, any) {
			if v == "" {
				return "", nil
			}
			return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(k, environPrefix), "_", "-")), v
		},
	}), nil); err != nil {
		return fmt.Errorf("reading the environment: %w", err)
	}
	for _, name := range known {
		f := cmd.Flags().Lookup(name)
		if f == nil || f.Changed || overruled(cmd, name) {
			continue
		}
		switch {
		case fromEnviron.Exists(name):
			err = applySetting(cmd, name, fromEnviron.String(name), environName(name))
		case fromFile.Exists(name):
			err = applyValue(cmd, name, fromFile.Get(name), path+": "+name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overruled reports whether a flag of cmd says what the setting would say otherwise:
// which node is asked.
func overruled(cmd *cobra.Command, name string) bool {
	return name == "api" && cmd.Flags().Changed("node-dir")
}

func applySetting(cmd *cobra.Command, name, value, source string) error {
	if err := cmd.Flags().Lookup(name).Value.Set(value); err != nil {
		return usageError("%s: %q %w", source, value, err)
	}
	return nil
}

// applyValue sets a flag to what a configuration file gives: a list for one that
// can be repeated, or one value.
func applyValue(cmd *cobra.Command, name string, value any, source string) error {
	switch value := value.(type) {
	case nil:
		return usageError("%s: there is no value", source)
	case map[string]any:
		return usageError("%s: there are settings below, want a value", source)
	case []any:
		list, ok := cmd.Flags().Lookup(name).Value.(pflag.SliceValue)
		if !ok {
			return usageError("%s: there is a list, want one value", source)
		}
		var texts []string
		for i, v := range value {
			switch v.(type) {
			case nil, []any, map[string]any:
				return usageError("%s: entry %d of the list is no plain value", source, i+1)
			}
			texts = append(texts, fmt.Sprint(v))
		}
		if err := list.Replace(texts); err != nil {
			return usageError("%s: %w", source, err)
		}
		return nil
	default:
		return applySetting(cmd, name, fmt.Sprint(value), source)
	}
}

// checkEnviron refuses variables that look like settings and are none.
func checkEnviron(environ, known []string) error {
	names := []string{environConfig}
	for _, k := range known {
		names = append(names, environName(k))
	}
	others := slices.Concat(guestEnviron, shellEnviron, []string{environToken})
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, environPrefix) && !slices.Contains(names, name) && !slices.Contains(others, name) {
			return usageError("the environment variable %s is not a setting of dugnad%s", name, didYouMean(name, "", names))
		}
	}
	return nil
}

// environConfig names the configuration file when --config does not.
const environConfig = environPrefix + "CONFIG"

// readConfig reads the configuration file. Only a file that somebody named
// must exist.
func readConfig(cmd *cobra.Command, environ, known []string) (path string, k *koanf.Koanf, err error) {
	k = koanf.New(".")
	path, _ = cmd.Flags().GetString("config")
	if path == "" {
		path = lookup(environ, environConfig)
	}
	named := path != ""
	if !named {
		folder := lookup(environ, "XDG_CONFIG_HOME")
		if folder == "" && lookup(environ, "HOME") != "" {
			folder = filepath.Join(lookup(environ, "HOME"), ".config")
		}
		if folder == "" {
			return "", k, nil
		}
		path = filepath.Join(folder, "dugnad", "config.yaml")
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		if !named && errors.Is(err, fs.ErrNotExist) {
			return path, koanf.New("."), nil
		}
		// The parser's messages have several lines.
		return path, nil, usageError("reading the configuration %s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	for _, key := range k.Keys() {
		if !slices.Contains(known, key) {
			return path, nil, usageError("%s: %q is not a setting%s", path, key, didYouMean(key, "", known))
		}
	}
	return path, k, nil
}

// lookup returns the value of name in environ, the last one given, or "".
func lookup(environ []string, name string) string {
	for _, e := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// dataDir is where dugnad keeps its cache when nothing else is said.
func dataDir(flag string, environ []string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	if cache := lookup(environ, "XDG_CACHE_HOME"); filepath.IsAbs(cache) {
		return filepath.Join(cache, "dugnad"), nil
	}
	if home := lookup(environ, "HOME"); home != "" {
		return filepath.Join(home, ".cache", "dugnad"), nil
	}
	return "", errors.New("there is no place for the cache: neither HOME nor XDG_CACHE_HOME is set: name a folder with --data-dir")
}
