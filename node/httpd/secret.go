package httpd

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/nearest"
)

// secrets registers what is done with tenants' secrets. This node sees no value.
func (s *server) secrets(a huma.API) {
	get(a, "list-secrets", "/secrets", "List secrets, without their values", "secrets", s.listSecrets)
	get(a, "list-custodians", "/custodians", "List the nodes that secrets are sealed to", "secrets", s.listCustodians)
	huma.Register(a, huma.Operation{
		OperationID: "put-secret", Method: http.MethodPut, Path: api.Prefix + "/secrets/{name}", Summary: "Keep a secret, or its next value", Tags: []string{"secrets"},
		Description:  "The value comes sealed, and its key sealed to each custodian: no node that does not run a job with it can read it but they.",
		MaxBodyBytes: api.SecretBytesMax,
	}, s.putSecret)
	huma.Register(a, huma.Operation{
		OperationID: "drop-secret", Method: http.MethodDelete, Path: api.Prefix + "/secrets/{name}", Summary: "Forget a secret", Tags: []string{"secrets"},
	}, s.dropSecret)
}

func (s *server) listSecrets(ctx context.Context, q *At) (*answer[api.Secrets], error) {
	out := api.Secrets{Secrets: []api.Secret{}}
	var err error
	out.Index, err = s.read(ctx, *q, func(tx ledger.Tx) error {
		out.Secrets = out.Secrets[:0]
		list, err := ledger.Secrets(tx, who(ctx).Tenant)
		for i := range list {
			out.Secrets = append(out.Secrets, readSecret(&list[i]))
		}
		return err
	})
	return &answer[api.Secrets]{out}, err
}

func readSecret(s *ledger.Secret) api.Secret {
	out := api.Secret{Name: string(s.Name), Version: s.Version, Created: *when(s.Created), Changed: *when(s.Changed), Custodians: []string{}}
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, string(n))
	}
	for _, k := range s.Keys {
		out.Custodians = append(out.Custodians, string(k.Node))
	}
	return out
}

// listCustodians shows those whose cards are good, the first of them that a secret is
// sealed to.
func (s *server) listCustodians(ctx context.Context, q *At) (*answer[api.Custodians], error) {
	grid := s.Grid.GridKey()
	out := api.Custodians{Grid: grid[:], Tenant: string(who(ctx).Tenant), Custodians: []api.Custodian{}}
	standing := s.Grid.Standing()
	_, err := s.read(ctx, *q, func(tx ledger.Tx) error {
		out.Custodians = out.Custodians[:0]
		list, err := ledger.Custodians(tx)
		for _, c := range list {
			if s.Grid.ReadCard(c.Card) == nil && len(out.Custodians) < ledger.CustodiansMax {
				out.Custodians = append(out.Custodians, api.Custodian{Node: string(c.Node), Name: standing.Names[c.Node], Card: c.Card})
			}
		}
		return err
	})
	return &answer[api.Custodians]{out}, err
}

type sealedSecret struct {
	Name string `path:"name"`
	Body api.SealedSecret
}

func (s *server) putSecret(ctx context.Context, in *sealedSecret) (*answer[api.Secret], error) {
	name, err := secretName(in.Name)
	if err != nil {
		return nil, err
	}
	c := &ledger.PutSecret{Tenant: who(ctx).Tenant, Name: name, Value: in.Body.Value}
	id, err := hex.DecodeString(in.Body.ID)
	if err != nil || len(id) != len(c.ID) {
		return nil, api.NewProblem(api.CodeInvalid, "id is not 32 hexadecimal digits", "make one of 16 random bytes")
	}
	c.ID = [16]byte(id)
	for _, n := range in.Body.Nodes {
		c.Nodes = append(c.Nodes, ledger.NodeID(n))
	}
	for _, k := range in.Body.Keys {
		c.Keys = append(c.Keys, ledger.SecretKey{Node: ledger.NodeID(k.Custodian), Sealed: k.Key})
	}
	index, err := s.do(ctx, c)
	if err != nil {
		return nil, err
	}
	var out api.Secret
	_, err = s.read(ctx, At{Index: index}, func(tx ledger.Tx) error {
		is, _, err := ledger.FindSecret(tx, c.Tenant, c.Name)
		out = readSecret(&is)
		return err
	})
	return &answer[api.Secret]{out}, err
}

type secretPath struct {
	Name string `path:"name"`
}

func (s *server) dropSecret(ctx context.Context, q *secretPath) (*struct{}, error) {
	name, err := secretName(q.Name)
	if err != nil {
		return nil, err
	}
	_, err = s.do(ctx, &ledger.DropSecret{Tenant: who(ctx).Tenant, Name: name})
	return nil, err
}

func secretName(text string) (ledger.SecretName, error) {
	name := ledger.SecretName(text)
	if !ledger.ValidSecretName(name) {
		return "", api.NewProblem(
			api.CodeInvalid, fmt.Sprintf("%.80q is not a name of a secret", strings.ToValidUTF8(text, "?")),
			fmt.Sprintf("write 1 to %d of A-Z, a-z, 0-9 and _, no digit first", ledger.SecretNameBytesMax),
		)
	}
	return name, nil
}

// known returns a problem when a job names a secret that its tenant has not.
func (s *server) known(ctx context.Context, spec *ledger.JobSpec) error {
	if len(spec.Secrets) == 0 {
		return nil
	}
	var names []string
	missing := func(tx ledger.Tx) error {
		names = nil
		list, err := ledger.Secrets(tx, spec.Tenant)
		for i := range list {
			names = append(names, string(list[i].Name))
		}
		if err != nil {
			return err
		}
		for _, n := range spec.Secrets {
			if !slices.Contains(names, string(n)) {
				return unknownSecret(string(n), names)
			}
		}
		return nil
	}
	_, err := s.read(ctx, At{}, missing)
	if err != nil {
		// This node's copy may be behind that of the node where it was set.
		_, err = s.read(ctx, At{Consistent: true}, missing)
	}
	return err
}

func unknownSecret(name string, names []string) *api.Problem {
	help := "set it with dugnad secret set " + name
	if meant := nearest.Name(name, names); meant != "" {
		help = "did you mean " + meant + "? Otherwise " + help
	}
	return api.NewProblem(api.CodeSecretUnknown, "the tenant has no secret "+name, help)
}
