// Package client speaks to a node's HTTP interface.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dugnad/dugnad/node/api"
)

// answerBytesMax bounds an answer that is read whole.
const answerBytesMax = 64 << 20

// ErrUnreachable is returned when no node answers at the address.
var ErrUnreachable = errors.New("no node answers")

// Config says where the node is.
type Config struct {
	// URL is the node's address, such as http://127.0.0.1:4611. With a Dial its
	// host is only a name.
	URL string
	// Dial, if set, reaches the node in another way than by its URL.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLS says which certificates are trusted at an https URL; nil are those that the
	// system trusts.
	TLS *tls.Config
	// Patience is how long a call is tried again while its node restarts or its
	// connections are cut; 0 is PatienceDefault, less is not at all. Only calls that
	// have the same effect when they are repeated are tried again, which are all but
	// an upload of what cannot be read a second time: PutObject and PushModule want an
	// io.Seeker for that. A node that has never answered is not waited for.
	Patience time.Duration
	// Token is the text of a tenant's token: a secret, which is not sent. Each request
	// carries a proof that is made with it. Empty sends none, to a node that needs none.
	Token string
	// Traceparent is the caller's place in a trace, as W3C Trace Context writes it: jobs that
	// are submitted are traced below that by nodes that trace. Empty is none.
	Traceparent string
	// Retrying, if set, is told why each time that calls begin to be tried again.
	// It may be called from several goroutines.
	Retrying func(err error)
}

// Client asks one node. Its methods are safe for concurrent use; their errors are
// *api.Problem where the node has answered with one.
type Client struct {
	base      *url.URL
	http      http.Client
	transport *http.Transport
	patience  time.Duration
	retrying  func(err error)
	// traceparent is a header of submissions, empty for none.
	traceparent string
	// credential is nil where there is no token.
	credential *credential
	// met says that the node has answered.
	met atomic.Bool
}

// connectionsMax bounds the idle connections that are kept.
const connectionsMax = 256

const (
	// handshakeTimeout bounds the handshake of TLS.
	handshakeTimeout = 30 * time.Second
	// goAheadTimeout bounds how long an upload waits for the node to want it: one that is
	// refused is not sent.
	goAheadTimeout = 10 * time.Second
	// pingAfter is after how long without a word a connection of HTTP/2 is asked whether
	// its other end is there.
	pingAfter = 30 * time.Second
)

// ErrUntrusted is returned when who answers is not known to be the node.
var ErrUntrusted = errors.New("the node's certificate is not trusted")

// Open makes a client. It does not look whether the node is there.
func Open(config Config) (*Client, error) {
	base, err := url.Parse(config.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("node's address %q is not http://HOST:PORT", config.URL)
	}
	credential, err := newCredential(config, base)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		MaxIdleConns: connectionsMax, MaxIdleConnsPerHost: connectionsMax, DisableCompression: true,
		TLSClientConfig: config.TLS, ForceAttemptHTTP2: true, TLSHandshakeTimeout: handshakeTimeout,
		ExpectContinueTimeout: goAheadTimeout, HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter},
	}
	t.DialContext = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		if config.Dial != nil {
			conn, err = config.Dial(ctx)
		} else {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
		}
		if err != nil {
			return nil, dialError{err}
		}
		return conn, nil
	}
	patience := config.Patience
	if patience == 0 {
		patience = PatienceDefault
	}
	c := &Client{base: base, http: http.Client{Transport: t}, transport: t, patience: patience, retrying: config.Retrying, credential: credential, traceparent: config.Traceparent}
	// A node sends nobody elsewhere, least of all with a proof.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// query is a request's parameters; empty ones are left out.
type query map[string]string

func (q query) encode() string {
	v := url.Values{}
	for name, value := range q {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v.Encode()
}

// number is a parameter that is left out when it is zero.
func number[N ~int | ~uint32 | ~uint64](n N) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

// send asks and returns the answer, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, q query, header http.Header, body io.Reader) (*http.Response, error) {
	u := *c.base
	u.Path = api.Prefix + path
	u.RawQuery = q.encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if p, ok := body.(*parcel); ok {
		r.ContentLength = p.bytes
	}
	for name, values := range header {
		r.Header.Set(name, values[0])
	}
	if err := c.credential.prove(r); err != nil {
		return nil, err
	}
	res, err := c.http.Do(r)
	if err != nil {
		var dial dialError
		var op *net.OpError
		var untrusted *tls.CertificateVerificationError
		switch {
		case errors.As(err, &untrusted):
			return nil, fmt.Errorf("%w: %w", ErrUntrusted, untrusted.Err)
		case !errors.As(err, &dial):
			return nil, cutError{err}
		case errors.As(dial.err, &op) && op.Op == "dial":
			return nil, fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, dial)
		}
		return nil, err
	}
	c.met.Store(true)
	if res.StatusCode >= 300 {
		return nil, errors.Join(readProblem(res), res.Body.Close())
	}
	return res, nil
}

func readProblem(res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return cutError{err}
	}
	p := &api.Problem{}
	if json.Unmarshal(data, p) != nil || p.Code == "" {
		return &api.Problem{Status: res.StatusCode, Title: res.Status, Code: api.CodeInternal, Detail: fmt.Sprintf("%s: %.200q", res.Status, data)}
	}
	return p
}

// call asks and decodes the answer.
func call[T any](ctx context.Context, c *Client, method, path string, q query, header http.Header, body io.Reader) (v T, err error) {
	res, err := c.send(ctx, method, path, q, header, body)
	if err != nil {
		return v, err
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, answerBytesMax))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return v, cutError{err}
	}
	if len(data) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read answer to %s %s: %w", method, path, err)
	}
	return v, nil
}

func read[T any](ctx context.Context, c *Client, path string, q query) (T, error) {
	return repeat(ctx, c, func() (T, error) { return call[T](ctx, c, http.MethodGet, path, q, nil, nil) })
}

// setNode changes a node's state, which does the same however often it is done.
func (c *Client) setNode(ctx context.Context, id, verb string, q query) (api.Node, error) {
	return repeat(ctx, c, func() (api.Node, error) {
		return call[api.Node](ctx, c, http.MethodPost, "/nodes/"+url.PathEscape(id)+"/"+verb, q, nil, nil)
	})
}

// Fresh says how fresh an answer has to be; the zero Fresh takes what the node has.
type Fresh struct {
	// Index is what the node must have applied.
	Index uint64
	// Consistent asks for everything that was acknowledged anywhere before.
	Consistent bool
}

func (f Fresh) in(q query) query {
	q["index"] = number(f.Index)
	if f.Consistent {
		q["consistent"] = "true"
	}
	return q
}

// Page says which part of a list is wanted.
type Page struct {
	// After is the last answer's Next; empty is the beginning.
	After string
	// Limit is the most that is wanted; 0 is the node's choice.
	Limit int
}

func (p Page) in(q query) query {
	q["after"], q["limit"] = p.After, number(p.Limit)
	return q
}

// Submit submits a job file. The same key gives the same job, however often it is
// submitted; an empty key makes another one each time.
func (c *Client) Submit(ctx context.Context, file []byte, key string) (api.Submitted, error) {
	if key == "" {
		var err error
		if key, err = NewKey(); err != nil {
			return api.Submitted{}, err
		}
	}
	h := http.Header{"Content-Type": {"application/yaml"}, "Idempotency-Key": {key}}
	if c.traceparent != "" {
		h.Set("Traceparent", c.traceparent)
	}
	return repeat(ctx, c, func() (api.Submitted, error) {
		return call[api.Submitted](ctx, c, http.MethodPost, "/jobs", nil, h, bytes.NewReader(file))
	})
}

// Plan says what would become of a job file.
func (c *Client) Plan(ctx context.Context, file []byte) (api.Plan, error) {
	h := http.Header{"Content-Type": {"application/yaml"}}
	return repeat(ctx, c, func() (api.Plan, error) {
		return call[api.Plan](ctx, c, http.MethodPost, "/plans", nil, h, bytes.NewReader(file))
	})
}

// Job returns a job as it stands.
func (c *Client) Job(ctx context.Context, id string, f Fresh) (api.Job, error) {
	return read[api.Job](ctx, c, "/jobs/"+url.PathEscape(id), f.in(query{}))
}

// Wait returns a job when it has ended, or ctx ends.
func (c *Client) Wait(ctx context.Context, id string, f Fresh) (api.Job, error) {
	for {
		j, err := read[api.Job](ctx, c, "/jobs/"+url.PathEscape(id), f.in(query{"wait": number(api.WaitSecondsMax)}))
		if err != nil || j.Final() {
			return j, err
		}
	}
}

// Jobs lists jobs, those in a state or all.
func (c *Client) Jobs(ctx context.Context, state string, p Page, labels ...string) (api.Jobs, error) {
	return read[api.Jobs](ctx, c, "/jobs", p.in(query{"state": state, "label": strings.Join(labels, ",")}))
}

// Why says what a job waits for.
func (c *Client) Why(ctx context.Context, id string) (api.Why, error) {
	return read[api.Why](ctx, c, "/jobs/"+url.PathEscape(id)+"/why", nil)
}

// Cancel stops a job. One that is over, or is being stopped already, is a problem,
// unless an earlier try of the same call has stopped it.
func (c *Client) Cancel(ctx context.Context, id string) (api.Submitted, error) {
	return settle(ctx, c, api.CodeJobState, func() (api.Submitted, error) {
		return call[api.Submitted](ctx, c, http.MethodPost, "/jobs/"+url.PathEscape(id)+"/cancel", nil, nil, nil)
	}, func() (api.Submitted, bool) {
		j, err := call[api.Job](ctx, c, http.MethodGet, "/jobs/"+url.PathEscape(id), Fresh{Consistent: true}.in(query{}), nil, nil)
		return api.Submitted{ID: id, Index: j.Index}, err == nil && j.Cause == causeCancelled
	})
}

// Order returns a standing order as it stands.
func (c *Client) Order(ctx context.Context, id string, f Fresh) (api.Order, error) {
	return read[api.Order](ctx, c, "/orders/"+url.PathEscape(id), f.in(query{}))
}

// Orders lists standing orders, those that have ended or the others.
func (c *Client) Orders(ctx context.Context, ended bool, p Page) (api.Orders, error) {
	q := query{}
	if ended {
		q["ended"] = "true"
	}
	return read[api.Orders](ctx, c, "/orders", p.in(q))
}

// WhyOrder says when a standing order runs, or why not.
func (c *Client) WhyOrder(ctx context.Context, id string) (api.Why, error) {
	return read[api.Why](ctx, c, "/orders/"+url.PathEscape(id)+"/why", nil)
}

// EndOrder ends a standing order and its jobs.
func (c *Client) EndOrder(ctx context.Context, id string) (api.Submitted, error) {
	return c.setOrder(ctx, id, "end")
}

// PauseOrder has a standing order make no jobs, ResumeOrder ends that.
func (c *Client) PauseOrder(ctx context.Context, id string) (api.Submitted, error) {
	return c.setOrder(ctx, id, "pause")
}

// ResumeOrder has a standing order make jobs again.
func (c *Client) ResumeOrder(ctx context.Context, id string) (api.Submitted, error) {
	return c.setOrder(ctx, id, "resume")
}

func (c *Client) setOrder(ctx context.Context, id, what string) (api.Submitted, error) {
	return settle(ctx, c, api.CodeOrderState, func() (api.Submitted, error) {
		return call[api.Submitted](ctx, c, http.MethodPost, "/orders/"+url.PathEscape(id)+"/"+what, nil, nil, nil)
	}, func() (api.Submitted, bool) {
		o, err := call[api.Order](ctx, c, http.MethodGet, "/orders/"+url.PathEscape(id), Fresh{Consistent: true}.in(query{}), nil, nil)
		return api.Submitted{ID: id, Index: o.Index, Kind: o.Kind}, err == nil && what == "end" && o.State == api.OrderEnded
	})
}

// TaskQuery says which tasks are wanted.
type TaskQuery struct {
	From    uint32
	Limit   int
	State   string
	Results bool
	Fresh   Fresh
}

// Tasks lists tasks of a job.
func (c *Client) Tasks(ctx context.Context, id string, t TaskQuery) (api.TaskList, error) {
	q := t.Fresh.in(query{"from": number(t.From), "limit": number(t.Limit), "state": t.State})
	if t.Results {
		q["results"] = "true"
	}
	return read[api.TaskList](ctx, c, "/jobs/"+url.PathEscape(id)+"/tasks", q)
}

// Task returns a task with its result.
func (c *Client) Task(ctx context.Context, id string, index uint32, f Fresh) (api.Task, error) {
	return read[api.Task](ctx, c, fmt.Sprintf("/jobs/%s/tasks/%d", url.PathEscape(id), index), f.in(query{}))
}

// Output returns what a task has put out on stdout or stderr.
func (c *Client) Output(ctx context.Context, id string, index uint32, stream string) (io.ReadCloser, error) {
	return c.bytes(ctx, fmt.Sprintf("/jobs/%s/tasks/%d/%s", url.PathEscape(id), index, stream), nil)
}

// Outputs returns what the tasks from first to end-1 have put out, one after
// another; an end of 0 is that of the job.
func (c *Client) Outputs(ctx context.Context, id string, stream string, first, end uint32) (io.ReadCloser, error) {
	return c.bytes(ctx, "/jobs/"+url.PathEscape(id)+"/"+stream, query{"from": number(first), "end": number(end)})
}

func (c *Client) bytes(ctx context.Context, path string, q query) (io.ReadCloser, error) {
	res, err := repeat(ctx, c, func() (*http.Response, error) { return c.send(ctx, http.MethodGet, path, q, nil, nil) })
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// PushModule makes a module known to the grid.
func (c *Client) PushModule(ctx context.Context, module io.Reader) (api.Module, error) {
	return upload[api.Module](ctx, c, "/modules", module)
}

// Modules lists modules.
func (c *Client) Modules(ctx context.Context, p Page) (api.Modules, error) {
	return read[api.Modules](ctx, c, "/modules", p.in(query{}))
}

// Module returns what is known of a module.
func (c *Client) Module(ctx context.Context, id string) (api.Module, error) {
	return read[api.Module](ctx, c, "/modules/"+url.PathEscape(id), nil)
}

// RemoveModule forgets a module that no job names.
func (c *Client) RemoveModule(ctx context.Context, id string) error {
	_, err := settle(ctx, c, api.CodeModuleUnknown, func() (struct{}, error) {
		return call[struct{}](ctx, c, http.MethodDelete, "/modules/"+url.PathEscape(id), nil, nil, nil)
	}, func() (struct{}, bool) { return struct{}{}, true })
	return err
}

// Nodes lists nodes.
func (c *Client) Nodes(ctx context.Context, p Page) (api.Nodes, error) {
	return read[api.Nodes](ctx, c, "/nodes", p.in(query{}))
}

// Node returns a node.
func (c *Client) Node(ctx context.Context, id string) (api.Node, error) {
	return read[api.Node](ctx, c, "/nodes/"+url.PathEscape(id), nil)
}

// Drain lets nothing more be placed on a node, Resume ends that.
func (c *Client) Drain(ctx context.Context, id string) (api.Node, error) {
	return c.setNode(ctx, id, "drain", nil)
}

// DrainWithin does so as well, and has the node hand back what has not begun at once
// and what still runs after a while, which is rounded up to seconds.
func (c *Client) DrainWithin(ctx context.Context, id string, deadline time.Duration) (api.Node, error) {
	seconds := max((deadline+time.Second-1)/time.Second, 1)
	return c.setNode(ctx, id, "drain", query{"deadline": number(uint64(seconds))})
}

// Resume lets tasks be placed on a node again.
func (c *Client) Resume(ctx context.Context, id string) (api.Node, error) {
	return c.setNode(ctx, id, "resume", nil)
}

// PutObject keeps an object.
func (c *Client) PutObject(ctx context.Context, object io.Reader) (api.Object, error) {
	return upload[api.Object](ctx, c, "/objects", object)
}

// Object returns an object's bytes.
func (c *Client) Object(ctx context.Context, id string) (io.ReadCloser, error) {
	return c.bytes(ctx, "/objects/"+url.PathEscape(id), nil)
}

// Secrets lists the tenant's secrets, without their values.
func (c *Client) Secrets(ctx context.Context) (api.Secrets, error) {
	return read[api.Secrets](ctx, c, "/secrets", nil)
}

// Custodians lists the nodes that secrets are sealed to.
func (c *Client) Custodians(ctx context.Context) (api.Custodians, error) {
	return read[api.Custodians](ctx, c, "/custodians", nil)
}

// PutSecret keeps a secret that was sealed. To do it again with the same id changes
// nothing.
func (c *Client) PutSecret(ctx context.Context, name string, s api.SealedSecret) (api.Secret, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return api.Secret{}, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return repeat(ctx, c, func() (api.Secret, error) {
		return call[api.Secret](ctx, c, http.MethodPut, "/secrets/"+url.PathEscape(name), nil, h, bytes.NewReader(body))
	})
}

// DropSecret forgets a secret.
func (c *Client) DropSecret(ctx context.Context, name string) error {
	_, err := settle(ctx, c, api.CodeSecretUnknown, func() (struct{}, error) {
		return call[struct{}](ctx, c, http.MethodDelete, "/secrets/"+url.PathEscape(name), nil, nil, nil)
	}, func() (struct{}, bool) { return struct{}{}, true })
	return err
}
