package warrant

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ucan-wg/go-ucan/pkg/policy"
	"github.com/ucan-wg/go-ucan/pkg/policy/literal"
)

// The arguments that conditions are about. A module need not be named: a request
// that is about one is checked when its body was read.
const (
	argumentTenant = "tenant"
	selectTenant   = "." + argumentTenant
	selectModule   = ".module?"
	modulePrefix   = "sha256:"
	tenantBytesMax = 64
)

// conditions are what one delegation adds: the only forms of a policy that are
// written and read. The library matches any policy; but one that it matches and that
// is not understood could not be shown, nor its cost known.
type conditions struct {
	// tenant is empty where none is named.
	tenant string
	// modules are in ascending order; nil is any.
	modules []string
}

// policy returns the conditions as UCAN writes them.
func (c conditions) policy() (policy.Policy, error) {
	var list []policy.Constructor
	if c.tenant != "" {
		list = append(list, policy.Equal(selectTenant, literal.String(c.tenant)))
	}
	if len(c.modules) > ModulesMax {
		return nil, fmt.Errorf("%w: %d modules, the limit is %d", ErrMalformed, len(c.modules), ModulesMax)
	}
	var either []policy.Constructor
	for _, m := range c.modules {
		if !validModule(m) {
			return nil, fmt.Errorf("%w: %q is not %s and 64 hexadecimal digits in small letters", ErrMalformed, m, modulePrefix)
		}
		either = append(either, policy.Equal(selectModule, literal.String(m)))
	}
	if len(either) > 0 {
		list = append(list, policy.Or(either...))
	}
	return policy.Construct(list...)
}

// readConditions is the inverse of policy. It returns ErrCondition for every other
// form.
func readConditions(p policy.Policy) (c conditions, err error) {
	all, err := p.ToIPLD()
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrCondition, err)
	}
	for i := range all.Length() {
		statement, _ := all.LookupByIndex(i)
		if tenant, ok := equality(statement, selectTenant); ok && c.tenant == "" && tenant != "" && len(tenant) <= tenantBytesMax {
			c.tenant = tenant
			continue
		}
		modules, ok := anyModule(statement)
		if !ok || c.modules != nil {
			return c, ErrCondition
		}
		c.modules = modules
	}
	return c, nil
}

// equality reads ["==", selector, text].
func equality(n datamodel.Node, selector string) (string, bool) {
	if n.Kind() != datamodel.Kind_List || n.Length() != 3 || item(n, 0) != policy.KindEqual || item(n, 1) != selector {
		return "", false
	}
	text := item(n, 2)
	return text, text != ""
}

// anyModule reads ["or", [["==", ".module?", module], …]]. An empty one would hold
// for every module.
func anyModule(n datamodel.Node) (modules []string, ok bool) {
	if n.Kind() != datamodel.Kind_List || n.Length() != 2 || item(n, 0) != policy.KindOr {
		return nil, false
	}
	list, err := n.LookupByIndex(1)
	if err != nil || list.Kind() != datamodel.Kind_List || list.Length() == 0 || list.Length() > ModulesMax {
		return nil, false
	}
	for i := range list.Length() {
		one, _ := list.LookupByIndex(i)
		m, ok := equality(one, selectModule)
		if !ok || !validModule(m) {
			return nil, false
		}
		modules = append(modules, m)
	}
	slices.Sort(modules)
	return slices.Compact(modules), true
}

// item returns a list's text; empty when there is none.
func item(n datamodel.Node, i int64) string {
	at, err := n.LookupByIndex(i)
	if err != nil {
		return ""
	}
	text, err := at.AsString()
	if err != nil {
		return ""
	}
	return text
}

func validModule(m string) bool {
	digits, ok := strings.CutPrefix(m, modulePrefix)
	_, err := hex.DecodeString(digits)
	return ok && err == nil && len(digits) == 64 && strings.ToLower(digits) == digits
}
