package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/dugnad/dugnad/node/api"
)

// OpenSession asks for the code of a browser's session, which may what the client may;
// one of the node's operator only with operator.
func (c *Client) OpenSession(ctx context.Context, operator bool) (api.SessionCode, error) {
	body, err := json.Marshal(api.OpenSession{Operator: operator})
	if err != nil {
		return api.SessionCode{}, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	return repeat(ctx, c, func() (api.SessionCode, error) {
		return call[api.SessionCode](ctx, c, http.MethodPost, "/sessions", nil, h, bytes.NewReader(body))
	})
}

// BeginURL is the address to open for a code: the code stands where no request has it.
func BeginURL(page *url.URL, code string) string {
	u := *page
	u.Fragment = "session=" + code
	return u.String()
}
