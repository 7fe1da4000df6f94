package httpd

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/node/api"
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
	h, size, err := s.Objects.Put(ctx, body, string(s.Tenant))
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
// that is negative.
func (s *server) stream(size int64, write func(io.Writer) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", "application/octet-stream")
		if size >= 0 {
			c.SetHeader("Content-Length", strconv.FormatInt(size, 10))
		}
		if err := write(c.BodyWriter()); err != nil {
			s.log.Info("answer was not taken whole", "err", err)
			// Cuts the connection: the client must not take this for the end.
			panic(http.ErrAbortHandler)
		}
	}}
}
