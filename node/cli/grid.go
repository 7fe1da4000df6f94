package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/certificate"
	"github.com/dugnad/dugnad/node/client"
	"github.com/dugnad/dugnad/node/control"
)

// gridFlags say which node is asked.
type gridFlags struct{ api, dir, tokenFile string }

func (f *gridFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.api, "api", "", "* `URL` of a node's HTTP interface, as dugnad status shows it (default the node that runs on --node-dir)")
	fs.StringVar(&f.dir, "node-dir", "", nodeDirHelp)
	registerToken(fs, &f.tokenFile)
	setting(fs, "api", "node-dir")
}

// errNoneNamed is returned where nothing says which node is to be asked, nor where this
// machine's would be.
var errNoneNamed = errors.New("no node is named, and neither HOME nor XDG_DATA_HOME says where this machine's is: name one with --api or --node-dir")

// client returns a client of the node, of which it does not know whether it is
// there.
func (f gridFlags) client(a *app) (*client.Client, error) {
	token, err := readToken(f.tokenFile, a.Environ)
	if err != nil {
		return nil, err
	}
	if f.api != "" {
		url, pinned, err := certificate.Split(f.api)
		if err != nil {
			return nil, usageError("--api: %w", err)
		}
		c, err := client.Open(client.Config{URL: url, TLS: pinned, Token: token, Traceparent: traceparent(a.Environ), Retrying: a.retrying})
		if err != nil {
			return nil, usageError("--api: %w", err)
		}
		return c, nil
	}
	dir, err := nodeDir(f.dir, a.Environ)
	if err != nil {
		return nil, errNoneNamed
	}
	return client.Open(client.Config{
		URL:      "http://node",
		Token:    token,
		Dial:     func(ctx context.Context) (net.Conn, error) { return control.Dial(ctx, dir) },
		Retrying: a.retrying,
		// Below the trace of whoever has started this program.
		Traceparent: traceparent(a.Environ),
	})
}

// retrying says that the node is asked again, on a line of its own.
func (a *app) retrying(err error) {
	begin := ""
	if isTerminal(a.Err, a.Environ) {
		begin = clearLine
	}
	fmt.Fprintf(a.Err, "%sdugnad: %s: trying again for %s\n", begin, printable(inner(err).Error()), formatDuration(client.PatienceDefault))
}

// probeTimeout bounds how long dugnad run looks for a node that it may do without.
const probeTimeout = time.Second

// answers reports whether there is somebody to ask.
func (f gridFlags) answers(ctx context.Context, environ []string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := f.dial(ctx, environ)
	return err == nil && conn.Close() == nil
}

func (f gridFlags) dial(ctx context.Context, environ []string) (net.Conn, error) {
	if f.api == "" {
		dir, err := nodeDir(f.dir, environ)
		if err != nil {
			return nil, err
		}
		return control.Dial(ctx, dir)
	}
	u, err := url.Parse(f.api)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
}

// grid is a command's view of the grid.
type grid struct {
	*app
	client *client.Client
	// tokenFile names a file with the token; empty is none, or that of the environment.
	tokenFile string
	// json asks for JSON instead of text.
	json bool
	now  func() time.Time
}

// gridCommand is a command that asks a node about the grid. Its arguments are the
// words of use behind the first.
func (a *app) gridCommand(cmd *cobra.Command, do func(ctx context.Context, g *grid, args []string) error) *cobra.Command {
	var where gridFlags
	var asJSON bool
	arguments := len(strings.Fields(cmd.Use)) - 1
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != arguments {
			return usageError("%s, want %s", plural(uint64(len(args)), "argument"), cmd.UseLine())
		}
		return nil
	}
	words := strings.Fields(cmd.Use)
	switch list := completers[words[len(words)-1]]; {
	case cmd.ValidArgsFunction != nil:
	case list != nil:
		cmd.ValidArgsFunction = a.complete(&where, list)
	default:
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := where.client(a)
		if err != nil {
			return err
		}
		defer c.Close()
		g := &grid{app: a, client: c, tokenFile: where.tokenFile, json: asJSON, now: time.Now}
		return explainGrid(do(cmd.Context(), g, args), where, a.Environ)
	}
	fs := cmd.Flags()
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	where.register(fs)
	return cmd
}

// group is a command that only has others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: noOther,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// explainGrid adds what to do to an error of asking the grid.
func explainGrid(err error, where gridFlags, environ []string) error {
	var coded *exitError
	if err == nil || errors.As(err, &coded) {
		return err
	}
	if errors.Is(err, control.ErrNotRunning) {
		if dir, wrong := nodeDir(where.dir, environ); wrong == nil {
			if why := explainOut(dir); errors.Is(why, errOut) {
				return fmt.Errorf("%w: %w", control.ErrNotRunning, why)
			}
		}
		return fmt.Errorf("%w: start one with dugnad up, or name another with --api", inner(err))
	}
	if errors.Is(err, client.ErrUnreachable) {
		return fmt.Errorf("%w: look whether a node runs there, or name another with --api", err)
	}
	if errors.Is(err, client.ErrUntrusted) {
		return fmt.Errorf("%w: compare with dugnad status on its machine, and name the grid or node that it shows: --api https://HOST:PORT#GRID", err)
	}
	return inner(err)
}

// inner drops the text of what was asked for, which says nothing to a user.
func inner(err error) error {
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// hasCode reports whether the node has answered with a problem of the code.
func hasCode(err error, code api.Code) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Code == code
}

// jobID completes an id that is abbreviated to its beginning.
func (g *grid) jobID(ctx context.Context, id string) (string, error) {
	id = strings.ToLower(id)
	if len(id) >= jobIDDigits || id == "" || strings.Trim(id, "0123456789abcdef") != "" {
		return id, nil // The node says what is wrong with it.
	}
	found, err := g.begins(ctx, id)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no job begins with %s: see dugnad job ls --all", id)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several jobs begin with %s: write more of the id, such as %s", id, found[0])
}

// begins returns the ids of up to a few jobs and standing orders that begin with id.
func (g *grid) begins(ctx context.Context, id string) (found []string, err error) {
	page := client.Page{After: id + strings.Repeat("0", jobIDDigits-len(id)), Limit: 2}
	jobs, err := g.client.Jobs(ctx, "", page)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs.Jobs {
		found = append(found, j.ID)
	}
	for _, ended := range []bool{false, true} {
		orders, err := g.client.Orders(ctx, ended, page)
		if err != nil {
			return nil, err
		}
		for _, o := range orders.Orders {
			found = append(found, o.ID)
		}
	}
	return slices.DeleteFunc(found, func(f string) bool { return !strings.HasPrefix(f, id) }), nil
}

// jobIDDigits is the length of a job's id.
const jobIDDigits = 32
