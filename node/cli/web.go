package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/client"
)

// errNoPage is returned for a node that shows nothing to browsers.
var errNoPage = errors.New("this node has no address for browsers: start it with dugnad up --api-listen 127.0.0.1:4611, or name another node with --api")

// webCommand prints the address with which a browser is let in.
func (a *app) webCommand() *cobra.Command {
	var operator, open bool
	cmd := &cobra.Command{
		Use:   "web",
		Short: "Print an address that lets a browser in to a node's pages",
		Long: "Prints an address with a code, which is good once, at this node, for a minute.\n" +
			"Whoever opens it may what the token may that this command was given, for 12\n" +
			"hours at most, and not after the token is over or was revoked. The token itself\n" +
			"stays here. Without one, through the node's own socket, the browser's jobs are\n" +
			"those of the tenant default; with --operator it may all that the operator may.\n" +
			"With --open this machine's browser opens it, where there is a display.",
	}
	cmd = a.gridCommand(cmd, func(ctx context.Context, g *grid, _ []string) error {
		s, err := g.client.OpenSession(ctx, operator)
		if err != nil {
			return err
		}
		at, err := url.Parse(s.Page)
		if where := cmd.Flag("api").Value.String(); where != "" {
			at, err = url.Parse(where)
		}
		if err != nil || at.Host == "" {
			return errNoPage
		}
		// What the address says beside the host, such as a certificate's key, is for clients.
		at = &url.URL{Scheme: at.Scheme, Host: at.Host, Path: "/ui/"}
		address := client.BeginURL(at, s.Code)
		if g.json {
			return g.writeJSON(struct {
				URL   string `json:"url"`
				Until string `json:"until"`
			}{address, s.Until.Format("2006-01-02T15:04:05Z07:00")})
		}
		if _, err = fmt.Fprintln(a.Out, address); err != nil || !open {
			return err
		}
		return a.browse(ctx, address)
	})
	cmd.Flags().BoolVar(&open, "open", false, "open it in this machine's browser, too")
	cmd.Flags().BoolVar(&operator, "operator", false, "let the browser do all that the node's operator may: drain and resume nodes, remove modules")
	return cmd
}
