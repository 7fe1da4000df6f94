package cli

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/secret"
	"github.com/dugnad/dugnad/node/warrant"
	"github.com/dugnad/dugnad/p2p"
)

// gridRoot is a grid's key, which signs tokens.
type gridRoot struct{ p2p.Key }

func (r gridRoot) Public() [32]byte             { return r.GridID() }
func (r gridRoot) Sign(message []byte) [64]byte { return [64]byte(r.Key.Sign(message)) }

func newGridRoot(t *testing.T) gridRoot {
	t.Helper()
	key, err := p2p.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return gridRoot{key}
}

// custodian is a card of an admin of the grid.
func (r gridRoot) custodian(t *testing.T) api.Custodian {
	t.Helper()
	node := newGridRoot(t)
	key, err := secret.NewKey([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	card, err := key.Card(r.GridID(), p2p.Found(r.Key, node.Key, time.Now()).Encode(), func(m []byte) ([]byte, error) { return node.Key.Sign(m), nil })
	if err != nil {
		t.Fatal(err)
	}
	return api.Custodian{Node: string(node.NodeID()), Card: card}
}

func (r gridRoot) token(t *testing.T) string {
	t.Helper()
	key, err := warrant.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := warrant.Found(r, nil, key.Public(), "acme", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := warrant.New(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return token.Text()
}

// TestLyingNode: a client seals nothing to custodians that are none of its token's grid,
// whatever the node that it asks says.
func TestLyingNode(t *testing.T) {
	mine, theirs := newGridRoot(t), newGridRoot(t)
	token := mine.token(t)
	for what, c := range map[string]struct {
		says  gridRoot
		cards []api.Custodian
		want  string
	}{
		"honest":              {mine, []api.Custodian{mine.custodian(t)}, ""},
		"another grid":        {theirs, []api.Custodian{theirs.custodian(t)}, errOtherGrid.Error()},
		"one of another grid": {mine, []api.Custodian{mine.custodian(t), theirs.custodian(t)}, errOtherGrid.Error()},
		"what is no card":     {mine, []api.Custodian{{Node: "n", Card: []byte("card")}}, errOtherGrid.Error()},
		"no custodian":        {mine, nil, errNoCustodian.Error()},
		"neither":             {mine, nil, errNoCustodian.Error()},
	} {
		t.Run(what, func(t *testing.T) {
			put := 0
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var answer any
				if r.Method == http.MethodPut {
					put++
					answer = api.Secret{Name: "A", Version: 1, Custodians: []string{"n"}}
				} else {
					list := api.Custodians{Tenant: "other", Custodians: c.cards}
					if len(c.cards) > 0 || what == "no custodian" {
						id := c.says.GridID()
						list.Grid = id[:]
					}
					answer = list
				}
				w.Header().Set("Content-Type", "application/json")
				if err := json.NewEncoder(w).Encode(answer); err != nil {
					t.Error(err)
				}
			}))
			defer node.Close()
			r := newTestRun(t)
			r.stdin, r.env = "value", append(r.env, "DUGNAD_TOKEN="+token)
			code := r.run("secret", "set", "A", "--api", node.URL)
			if (code == 0) != (c.want == "") || !strings.Contains(r.stderr.String(), c.want) || (put > 0) != (c.want == "") {
				t.Errorf("exit code %d, stderr %s, %d put", code, r.stderr.String(), put)
			}
		})
	}
}
