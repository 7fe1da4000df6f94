package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p"
)

var (
	errSecretArgument = errors.New("the value of a secret is no argument, as whoever is on this machine can list those of processes: give it on stdin or with --from-file")
	errSecretTyped    = errors.New("stdin is a terminal, which would show the secret: give it with --from-file, or through a pipe")
	errNoCustodian    = errors.New("there is no custodian to seal the secret to: look whether the node of the grid's founder, or of an admin, has been up")
	errOtherGrid      = errors.New("the node names custodians that are none of the token's grid: ask another node")
)

// secretCommand has what is done with a tenant's secrets.
func (a *app) secretCommand() *cobra.Command {
	list := a.gridCommand(&cobra.Command{Use: "ls", Short: "List the tenant's secrets, without their values"}, listSecrets)
	remove := a.gridCommand(&cobra.Command{
		Use: "rm SECRET", Short: "Forget a secret",
		Long: "Forgets a secret. Tasks that are to have it, and have not started, are refused.",
	}, func(ctx context.Context, g *grid, args []string) error { return g.client.DropSecret(ctx, args[0]) })
	return group("secret", "Keep secrets for jobs, list and forget them", a.secretSetCommand(), list, remove)
}

func (a *app) secretSetCommand() *cobra.Command {
	var file string
	var nodes []string
	cmd := a.gridCommand(&cobra.Command{
		Use:   "set SECRET",
		Short: "Keep a secret, or its next value",
		Long: "Reads a value from stdin or a file, without the newline at its end, and seals it on\n" +
			"this machine to the grid's custodians, the nodes of its admins. A job gets it in a\n" +
			"variable when its file says so:\n\n" +
			"  secrets:\n    API_KEY: WEATHER_KEY\n\n" +
			"Who operates a custodian, or a node that runs such a job, can read it; nobody else.",
	}, func(ctx context.Context, g *grid, args []string) error {
		return g.setSecret(ctx, args[0], file, nodes)
	})
	count := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError("%s, want the name alone: %w", plural(uint64(len(args)), "argument"), errSecretArgument)
		}
		return count(cmd, args)
	}
	fs := cmd.Flags()
	fs.StringVar(&file, "from-file", "", "`file` with the value (default stdin)")
	fs.StringArrayVar(&nodes, "node", nil, "the only `node` that is given it; can be repeated (default any that runs such a job)")
	return cmd
}

func (g *grid) setSecret(ctx context.Context, name, file string, nodes []string) error {
	if !ledger.ValidSecretName(ledger.SecretName(name)) {
		return usageError("%s is not a name of a secret: write 1 to %d of A-Z, a-z, 0-9 and _, no digit first", printable(strconv.Quote(name)), ledger.SecretNameBytesMax)
	}
	if file == "" && isTerminal(g.In, g.Environ) {
		return usageError("%w", errSecretTyped)
	}
	value, err := readSecretValue(g.In, file)
	if err != nil {
		return err
	}
	defer clear(value)
	b := secret.Binding{Name: ledger.SecretName(name)}
	_, _ = rand.Read(b.ID[:]) // it never fails
	for _, word := range nodes {
		id, err := g.nodeID(ctx, word)
		if err != nil {
			return err
		}
		b.Nodes = append(b.Nodes, ledger.NodeID(id))
	}
	slices.Sort(b.Nodes)
	b.Nodes = slices.Compact(b.Nodes)
	sealed, err := g.seal(ctx, value, b)
	if err != nil {
		return err
	}
	s, err := g.client.PutSecret(ctx, name, sealed)
	switch {
	case err != nil:
		return err
	case g.json:
		return g.writeJSON(s)
	}
	_, err = fmt.Fprintf(g.Out, "%s version %d, sealed to %s\n", s.Name, s.Version, plural(uint64(len(s.Custodians)), "custodian"))
	return err
}

// seal seals a value to the grid's custodians, whose cards it verifies.
func (g *grid) seal(ctx context.Context, value []byte, b secret.Binding) (out api.SealedSecret, err error) {
	list, err := g.client.Custodians(ctx)
	if err != nil {
		return out, err
	}
	if len(list.Grid) != len(p2p.GridID{}) {
		return out, errNoCustodian
	}
	tenant, gridID, err := g.tenantOf(list.Tenant, p2p.GridID(list.Grid))
	if err != nil {
		return out, err
	}
	b.Tenant = tenant
	var to []secret.Custodian
	for _, c := range list.Custodians {
		s, err := secret.ReadCard(c.Card, gridID, time.Now(), nil)
		if err != nil {
			return out, fmt.Errorf("%w: %w", errOtherGrid, err)
		}
		to = append(to, s)
	}
	if len(to) == 0 {
		return out, errNoCustodian
	}
	slices.SortFunc(to, func(a, b secret.Custodian) int { return strings.Compare(string(a.Node), string(b.Node)) })
	sealed, keys, err := secret.Seal(value, b, to)
	if err != nil {
		return out, err
	}
	out = api.SealedSecret{ID: hex.EncodeToString(b.ID[:]), Value: sealed}
	for _, n := range b.Nodes {
		out.Nodes = append(out.Nodes, string(n))
	}
	for _, k := range keys {
		out.Keys = append(out.Keys, api.SealedKey{Custodian: string(k.Node), Key: k.Sealed})
	}
	return out, nil
}

// tenantOf returns whose the secret is, and the grid whose custodians it is for: those of
// the token, or where there is none what the node says, which is one's own.
func (g *grid) tenantOf(tenant string, said p2p.GridID) (ledger.TenantID, p2p.GridID, error) {
	text, err := readToken(g.tokenFile, g.Environ)
	if err != nil || text == "" {
		return ledger.TenantID(tenant), said, err
	}
	token, err := warrant.Parse(text)
	if err != nil {
		return "", said, err
	}
	grant := token.Grant()
	if !grant.Admin {
		return ledger.TenantID(grant.Tenant), grant.Root, nil
	}
	m, err := p2p.DecodeMembership(token.Chain().Admin())
	if err != nil {
		return "", said, err
	}
	return ledger.TenantID(grant.Tenant), m.Grid, nil
}

// readSecretValue reads a value, without the newline that most programs end a file with.
func readSecretValue(in io.Reader, file string) ([]byte, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usageError("--from-file %s: %w", file, inPath(err))
		}
		defer f.Close()
		in = f
	}
	value, err := io.ReadAll(io.LimitReader(in, secret.ValueBytesMax+3))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	return value, secret.Check(value)
}

func listSecrets(ctx context.Context, g *grid, _ []string) error {
	list, err := g.client.Secrets(ctx)
	switch {
	case err != nil:
		return err
	case g.json:
		return g.writeJSON(list)
	}
	t := newTable(g.Out, "SECRET", "VERSION", "CHANGED", "NODES", "CUSTODIANS")
	for i := range list.Secrets {
		s := &list.Secrets[i]
		nodes := "any"
		if len(s.Nodes) > 0 {
			nodes = strconv.Itoa(len(s.Nodes))
		}
		t.row(s.Name, strconv.FormatUint(uint64(s.Version), 10), g.when(&s.Changed), nodes, strconv.Itoa(len(s.Custodians)))
	}
	return t.flush()
}
