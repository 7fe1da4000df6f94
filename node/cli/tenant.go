package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/control"
	"github.com/dugnad/dugnad/node/quantity"
	"github.com/dugnad/dugnad/node/warrant"
)

// tenantCommand has what makes tenants and their tokens.
func (a *app) tenantCommand() *cobra.Command {
	return group(
		"tenant", "Make tenants and their tokens, bound them, and say what they have cost",
		a.tenantCreateCommand(), a.tenantAllowCommand(), a.tenantDenyCommand(), a.tenantTokenCommand(), a.tenantRevokeCommand(),
		a.tenantListCommand(), a.tenantShowCommand(), a.tenantQuotaCommand(), a.tenantUsageCommand(),
	)
}

// errTokenArgument is returned for a token on the command line.
var errTokenArgument = errors.New("a token is a secret, and whoever is on this machine can list the arguments of processes: give it in a file with --token-file, or in " + environToken)

// untilValue is a flag for a point in time: a period from now, or a time.
type untilValue struct{ to *time.Time }

func (u untilValue) Set(s string) error {
	now := time.Now()
	days, isDays := strings.CutSuffix(s, "d")
	if n, err := strconv.ParseUint(days, 10, 16); isDays && err == nil && n > 0 {
		*u.to = now.AddDate(0, 0, int(n))
	} else if d, err := quantity.ParseDuration(s); err == nil {
		*u.to = now.Add(d)
	} else if at, failed := time.Parse(time.RFC3339, s); failed == nil {
		*u.to = at
	} else {
		return errors.New("is neither a period, such as 2h or 30d, nor a time, such as 2026-12-31T12:00:00Z")
	}
	if !u.to.After(now) {
		return errors.New("is in the past")
	}
	return nil
}

func (untilValue) Type() string { return "TIME" }

func (u untilValue) String() string {
	if u.to == nil || u.to.IsZero() {
		return ""
	}
	return u.to.UTC().Format(time.RFC3339)
}

func outputFlag(fs *pflag.FlagSet, to *string) {
	fs.StringVarP(to, "output", "o", "", "new `file` to write the token to, which only its owner may read (default print it)")
}

func (a *app) tenantCreateCommand() *cobra.Command {
	var until time.Time
	var existing bool
	var allow []string
	var output string
	cmd := a.nodeCommand(&cobra.Command{
		Use:   "create NAME",
		Short: "Make a tenant, and print its token, once",
		Long: "Makes a tenant and a token for everything that it may do, and prints the token: a\n" +
			"secret, which is kept nowhere. Works on the founder's node and on those of admins.\n" +
			"The token is good at every node of the grid; none has to be asked whether it is.",
	}, 1, func(cmd *cobra.Command, c *control.Client, args []string) error {
		key, err := warrant.NewKey()
		if err != nil {
			return err
		}
		public := key.Public()
		f := control.Founding{Tenant: args[0], Key: public[:], Existing: existing, Allow: allow}
		if existing && len(allow) > 0 {
			return usageError("--allow is for a new tenant: use dugnad tenant allow %s %s", args[0], strings.Join(allow, " "))
		}
		if !until.IsZero() {
			f.Until = &until
		}
		if f, err = c.FoundToken(cmd.Context(), f); err != nil {
			return err
		}
		chain, err := warrant.DecodeChain(f.Chain)
		if err != nil {
			return err
		}
		token, err := warrant.New(chain, key)
		if err != nil {
			return err
		}
		return a.writeToken(token, output)
	})
	fs := cmd.Flags()
	fs.Var(untilValue{&until}, "until", "when the token ends: a period, such as 90d, or a time (default never)")
	fs.BoolVar(&existing, "existing", false, "make another token for a tenant that there is")
	fs.StringSliceVar(&allow, "allow", nil, "`capability` that its jobs may ask for: http")
	outputFlag(fs, &output)
	return cmd
}

// onlyNames are the commands as people write them.
var onlyNames = map[string]string{"all": warrant.All, "run": warrant.Run, "read": warrant.Read}

func (a *app) tenantTokenCommand() *cobra.Command {
	var file, only, output string
	var modules []string
	var show, asJSON bool
	l := warrant.Limits{}
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a narrower token of one, or say what a token allows",
		Long: "Makes a token that allows no more than the one in " + environToken + " or --token-file,\n" +
			"and prints it. No node is asked. Revoking a token revokes all that were made of it.\n\n" +
			"  dugnad tenant token --only run --module hello.wasm --until 2h\n\n" +
			"With --show it says what the token allows, without the secret.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("%s, want none: %w", plural(uint64(len(args)), "argument"), errTokenArgument)
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			text, err := readToken(file, a.Environ)
			if err != nil {
				return err
			}
			if text == "" {
				return usageError("there is no token: set %s or --token-file", environToken)
			}
			token, err := warrant.Parse(text)
			if err != nil {
				return err
			}
			if show {
				return a.showToken(token.Grant(), asJSON)
			}
			var known bool
			if l.Command, known = onlyNames[only]; only != "" && !known {
				return usageError("--only: %q is none of run, read and all", only)
			}
			if l.Modules, err = moduleNames(modules); err != nil {
				return err
			}
			if token, err = token.Narrow(l); err != nil {
				return err
			}
			return a.writeToken(token, output)
		},
	}
	fs := cmd.Flags()
	registerToken(fs, &file)
	fs.StringVar(&only, "only", "", "what it is for: `run` (submit, stop, read), read, or all (default as before)")
	fs.StringArrayVar(&modules, "module", nil, "a `module` that it is for, a file or sha256:HEX; can be repeated (default as before)")
	fs.Var(untilValue{&l.Until}, "until", "when it ends: a period, such as 2h or 30d, or a time (default as before)")
	fs.BoolVar(&show, "show", false, "say what the token allows instead")
	fs.BoolVar(&asJSON, "json", false, "with --show, print a JSON object")
	outputFlag(fs, &output)
	return cmd
}

// moduleNames reads hashes, and hashes files.
func moduleNames(list []string) (names []string, err error) {
	for _, m := range list {
		if !strings.HasPrefix(m, "sha256:") {
			f, err := os.Open(m)
			if err != nil {
				return nil, usageError("--module %s: %w: name a file, or sha256: and its hash", m, inPath(err))
			}
			h := sha256.New()
			_, err = io.Copy(h, f)
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
			m = "sha256:" + hex.EncodeToString(h.Sum(nil))
		}
		names = append(names, strings.ToLower(m))
	}
	return names, nil
}

// shownToken is what a token allows.
type shownToken struct {
	Tenant  string     `json:"tenant"`
	Only    string     `json:"only"`
	Modules []string   `json:"modules,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	// Root is the public key that the token begins with, By whose that is.
	Root string `json:"root"`
	By   string `json:"by"`
	// IDs are what it is revoked by, the first token's first.
	IDs []string `json:"ids"`
}

func (a *app) showToken(g warrant.Grant, asJSON bool) error {
	out := shownToken{Tenant: g.Tenant, Modules: g.Modules, Root: hex.EncodeToString(g.Root[:]), By: "grid"}
	for name, command := range onlyNames {
		if command == g.Command {
			out.Only = name
		}
	}
	if !g.Until.IsZero() {
		out.Until = &g.Until
	}
	if g.Admin {
		out.By = "admin"
	}
	for _, id := range g.IDs {
		out.IDs = append(out.IDs, hex.EncodeToString(id[:]))
	}
	if asJSON {
		return a.writeJSON(out)
	}
	t := newTable(a.Out)
	t.row("tenant", out.Tenant)
	t.row("only", out.Only)
	for _, m := range out.Modules {
		t.row("module", m)
	}
	until := "never"
	if out.Until != nil {
		until = clock(*out.Until)
	}
	t.row("ends", until)
	t.row("signed by", fmt.Sprintf("the key of the %s, %s", out.By, out.Root))
	for i, id := range out.IDs {
		what := "made of that"
		if i == 0 {
			what = "first token"
		}
		t.row(what, id)
	}
	return t.flush()
}

func (a *app) tenantRevokeCommand() *cobra.Command {
	var file string
	var until time.Time
	cmd := a.nodeCommand(&cobra.Command{
		Use:   "revoke [ID]",
		Short: "Take back a token, and all that were made of it",
		Long: "Takes back the token in " + environToken + " or --token-file, or the one with the id, which\n" +
			"dugnad tenant token --show tells. Every node refuses it from then on, and what it was is\n" +
			"forgotten a day after the token is over by itself; of an id alone that is what --until says,\n" +
			"or never. 4096 are remembered of a tenant, and 65536 of all. Works on the founder's node\n" +
			"and on those of admins.",
	}, 0, func(cmd *cobra.Command, c *control.Client, args []string) error {
		r, err := a.revocation(args, file)
		if err != nil {
			return err
		}
		switch {
		case until.IsZero():
		case len(args) == 0:
			return usageError("--until is for an id: a token says itself when it ends")
		default:
			r.Until = &until
		}
		return c.Revoke(cmd.Context(), r)
	})
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError("%s, want at most an id", plural(uint64(len(args)), "argument"))
		}
		return nil
	}
	registerToken(cmd.Flags(), &file)
	cmd.Flags().Var(untilValue{&until}, "until", "when the token with the id ends by itself, or later (default never)")
	return cmd
}

// revocation says what is revoked: an id, or the token that there is.
func (a *app) revocation(args []string, file string) (r control.Revocation, err error) {
	if len(args) == 1 {
		if strings.HasPrefix(args[0], warrant.Prefix) {
			return r, usageError("%w", errTokenArgument)
		}
		r.ID, err = hex.DecodeString(strings.TrimPrefix(args[0], "sha256:"))
		if err != nil || len(r.ID) != sha256.Size {
			return r, usageError("an id has 64 hexadecimal digits: see dugnad tenant token --show")
		}
		return r, nil
	}
	text, err := readToken(file, a.Environ)
	if err != nil {
		return r, err
	}
	if text == "" {
		return r, usageError("there is no token: name its id, or set %s or --token-file", environToken)
	}
	token, err := warrant.Parse(text)
	if err != nil {
		return r, err
	}
	g := token.Grant()
	last := g.IDs[len(g.IDs)-1]
	r.ID, r.Tenant = last[:], g.Tenant
	if !g.Until.IsZero() {
		r.Until = &g.Until
	}
	return r, nil
}
