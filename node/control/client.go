package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Client asks the node that runs on a folder.
type Client struct{ http http.Client }

// NewClient returns a client for the folder. Every call returns ErrNotRunning when
// there is no node.
func NewClient(dir string) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, dir) },
	}}}
}

// Status asks for the node's state.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}

// Invite asks for an invitation.
func (c *Client) Invite(ctx context.Context, i Invitation) (Invitation, error) {
	err := c.call(ctx, http.MethodPost, "/invitations", i, &i)
	return i, err
}

// Expel puts a node out of the grid.
func (c *Client) Expel(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/expulsions", Expulsion{node}, &Expulsion{})
}

// FoundToken asks for the chain of a tenant's first token.
func (c *Client) FoundToken(ctx context.Context, f Founding) (Founding, error) {
	err := c.call(ctx, http.MethodPost, "/tokens", f, &f)
	return f, err
}

// Revoke takes back a delegation.
func (c *Client) Revoke(ctx context.Context, r Revocation) error {
	return c.call(ctx, http.MethodPost, "/revocations", r, &Revocation{})
}

// DialBack asks what another member sees of the node.
func (c *Client) DialBack(ctx context.Context) (d DialBack, err error) {
	err = c.call(ctx, http.MethodPost, "/dialbacks", struct{}{}, &d)
	return d, err
}

// PutObject gives the node an object to keep.
func (c *Client) PutObject(ctx context.Context, r io.Reader) (o Object, err error) {
	err = c.do(ctx, http.MethodPost, "/objects", r, decode(&o))
	return o, err
}

// GetObject writes an object, which the node fetches if need be, to w.
func (c *Client) GetObject(ctx context.Context, hash string, w io.Writer) error {
	return c.do(ctx, http.MethodGet, "/objects/"+url.PathEscape(hash), nil, func(resp *http.Response) error {
		_, err := io.Copy(w, resp.Body)
		return err
	})
}

func (c *Client) call(ctx context.Context, method, path string, request, answer any) error {
	var body io.Reader
	if request != nil {
		b, err := json.Marshal(request)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	return c.do(ctx, method, path, body, decode(answer))
}

func decode(answer any) func(resp *http.Response) error {
	return func(resp *http.Response) error { return json.NewDecoder(resp.Body).Decode(answer) }
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, take func(resp *http.Response) error) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if wrapped := new(url.Error); errors.As(err, &wrapped) {
		err = wrapped.Err // its text says again what was asked for
	}
	if err != nil {
		return fmt.Errorf("ask the node: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p problem
		if err := json.NewDecoder(io.LimitReader(resp.Body, requestBytesMax)).Decode(&p); err != nil || p.Detail == "" {
			return fmt.Errorf("the node answered %s", resp.Status)
		}
		return errors.New(p.Detail)
	}
	return take(resp)
}
