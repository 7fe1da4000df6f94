package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/audit"
	"github.com/dugnad/dugnad/p2p/content"
)

func (s *server) objects(a huma.API) {
	upload(a, "put-object", "/objects", "Keep an object: an input of jobs", "objects", s.putObject)
	huma.Register(a, huma.Operation{
		OperationID: "get-object", Method: http.MethodGet, Path: api.Prefix + "/objects/{object}", Summary: "Get an object", Tags: []string{"objects"},
		Responses: octets("The object's bytes"),
	}, s.getObject)
}

// octets describes an answer that is bytes.
func octets(what string) map[string]*huma.Response {
	return map[string]*huma.Response{"200": {Description: what, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}}
}

func (s *server) putObject(ctx context.Context, body io.Reader) (*answer[api.Object], error) {
	h, size, err := s.Objects.Put(ctx, body, string(who(ctx).Tenant))
	if err != nil {
		return nil, problem(err)
	}
	return &answer[api.Object]{api.Object{Object: "sha256:" + h.String(), Bytes: size}}, nil
}

type objectPath struct {
	Object string `path:"object"`
}

func (s *server) getObject(ctx context.Context, q *objectPath) (*huma.StreamResponse, error) {
	h, err := content.ParseHash(strings.TrimPrefix(q.Object, "sha256:"))
	if err != nil {
		return nil, api.NewProblem(api.CodeInvalid, err.Error(), "")
	}
	fetching, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	o, err := s.Objects.Fetch(fetching, h, content.FetchOptions{})
	if err != nil {
		return nil, problem(err)
	}
	return s.stream(o.Size(), func(w io.Writer) error {
		_, err := io.Copy(w, o)
		return errors.Join(err, o.Close())
	}), nil
}

// stream answers with what write writes: size bytes, or as many as it likes when
// that is negative. When it fails before it has written anything, the answer is the
// problem.
func (s *server) stream(size int64, write func(io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		w := &streamed{c: c, size: size}
		err := write(w)
		switch {
		case err == nil:
			w.begin()
		case !w.begun:
			s.fail(c, err)
		default:
			s.log.Info("answer was not taken whole", "err", err)
			// Cuts the connection: the client must not take this for the end.
			panic(http.ErrAbortHandler)
		}
	}}
}

// fail answers with a problem instead of a stream.
func (s *server) fail(c huma.Context, err error) {
	var p *api.Problem
	if !errors.As(problem(err), &p) {
		p = api.NewProblem(api.CodeInternal, err.Error(), "")
	}
	audit.Of(c.Context()).Code = string(p.Code)
	c.SetHeader("Content-Type", p.ContentType(""))
	for name, values := range p.GetHeaders() {
		c.SetHeader(name, values[0])
	}
	c.SetStatus(p.Status) // which sends the header
	if err := json.NewEncoder(c.BodyWriter()).Encode(p); err != nil {
		s.log.Debug("problem was not taken", "err", err)
	}
}

// streamed is the body of an answer that begins with its first byte.
type streamed struct {
	c     huma.Context
	size  int64
	begun bool
}

func (w *streamed) begin() {
	if w.begun {
		return
	}
	w.begun = true
	w.c.SetHeader("Content-Type", "application/octet-stream")
	if w.size >= 0 {
		w.c.SetHeader("Content-Length", strconv.FormatInt(w.size, 10))
	}
}

// Write implements io.Writer.
func (w *streamed) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	w.begin()
	return w.c.BodyWriter().Write(b)
}
