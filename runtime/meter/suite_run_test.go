package meter_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/dugnad/dugnad/runtime/internal/wasmtest"
	"github.com/dugnad/dugnad/runtime/lint"
)

// verdict is what came of one command of a script.
type verdict struct {
	kind verdictKind
	// detail is why it failed or was refused; of a trap that was expected, its
	// kind.
	detail string
	fuel   int64
}

type verdictKind int

const (
	// passed: what the script states holds.
	passed verdictKind = iota
	failed
	// refused: lint does not accept the module, or the one that it needs.
	refused
	// textual: the module is in the text format, which nobody reads here.
	textual
)

// performance is one run of a script.
type performance struct {
	linker   linker
	script   *wasmtest.Script
	verdicts []verdict
	// modules are the script's, in order, nil where one is missing.
	modules []api.Module
	// latest and named are the modules that an action may mean; missing and
	// unregistered say why a module is not among the latest, by the name that
	// the script calls it by, and not there to import.
	latest                api.Module
	named                 map[string]api.Module
	missing, unregistered map[string]verdict
}

func perform(script *wasmtest.Script, l linker) (*performance, error) {
	spectest, err := wasmtest.SpectestModule()
	if err != nil {
		return nil, err
	}
	if _, err := l.instantiate(spectest, "spectest"); err != nil {
		return nil, fmt.Errorf("instantiate spectest: %w", err)
	}
	p := &performance{linker: l, script: script, named: map[string]api.Module{}, missing: map[string]verdict{}, unregistered: map[string]verdict{}}
	for i := range script.Commands {
		l.begin()
		v := p.command(i)
		v.fuel = l.spent()
		p.verdicts = append(p.verdicts, v)
	}
	return p, nil
}

func (p *performance) command(i int) verdict {
	c := &p.script.Commands[i]
	switch c.Type {
	case "module":
		return p.module(i)
	case "register":
		return verdict{} // Done together with the module before it.
	case "action", "assert_return", "assert_trap", "assert_exhaustion", "assert_exception":
		return p.act(c)
	case "assert_malformed", "assert_invalid":
		if !c.Binary() {
			return verdict{kind: textual}
		}
		if _, err := p.instantiate(c, ""); err == nil {
			return verdict{failed, "accepted, want " + c.Text, 0}
		}
		return verdict{}
	case "assert_unlinkable", "assert_uninstantiable":
		return p.fails(c)
	}
	return verdict{failed, "unknown command " + c.Type, 0}
}

// module instantiates a module, under the name that the next command gives it.
func (p *performance) module(i int) verdict {
	c, name := &p.script.Commands[i], ""
	if next := i + 1; next < len(p.script.Commands) && p.script.Commands[next].Type == "register" {
		name = p.script.Commands[next].As
	}
	m, err := p.instantiate(c, name)
	if err != nil {
		m = nil
	}
	v := p.verdict(err)
	p.latest, p.named[c.Name] = m, m
	p.modules = append(p.modules, m)
	p.missing[""], p.missing[c.Name] = v, v
	if err != nil && name != "" {
		p.unregistered[name] = v
	}
	return v
}

func (p *performance) instantiate(c *wasmtest.Command, name string) (api.Module, error) {
	b, err := p.script.Module(c)
	if err != nil {
		return nil, err
	}
	m, err := p.linker.instantiate(b, name)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// verdict of an instantiation that should succeed.
func (p *performance) verdict(err error) verdict {
	if err == nil {
		return verdict{}
	}
	var r *lint.Refusal
	if errors.As(err, &r) {
		return verdict{refused, r.Code, 0}
	}
	for name, v := range p.unregistered {
		if strings.Contains(err.Error(), "module["+name+"] not instantiated") {
			return v
		}
	}
	return verdict{failed, trap(err), 0}
}

// fails is for a module that must not link or not start. Of a table segment
// that does not fit wazero says nothing, by intent: the module stays usable, as
// the specification has it.
func (p *performance) fails(c *wasmtest.Command) verdict {
	if !c.Binary() {
		return verdict{kind: textual}
	}
	_, err := p.instantiate(c, "")
	switch {
	case errors.Is(err, errRefused):
		return p.verdict(err)
	case (err == nil) != (c.Text == "out of bounds table access"):
		return verdict{failed, fmt.Sprintf("%v, want %s", err, c.Text), 0}
	}
	return verdict{}
}

// act calls or reads what the command says and compares.
func (p *performance) act(c *wasmtest.Command) verdict {
	m := p.latest
	if c.Action.Module != "" {
		m = p.named[c.Action.Module]
	}
	if m == nil {
		return p.missing[c.Action.Module]
	}
	results, err := invoke(m, &c.Action)
	switch c.Type {
	case "action", "assert_return":
		if err != nil {
			return verdict{failed, trap(err), 0}
		}
		rest := results
		for i := range c.Expected {
			var ok bool
			if ok, rest = c.Expected[i].Match(rest); !ok && c.Type == "assert_return" {
				return verdict{failed, fmt.Sprintf("%s = %x, want %s", c.Action.Field, results, c.Expected[i].Value), 0}
			}
		}
		return verdict{}
	case "assert_exhaustion":
		if err == nil || !errors.Is(err, errStack) && !strings.Contains(err.Error(), "stack overflow") {
			return verdict{failed, fmt.Sprintf("%v, want exhaustion", err), 0}
		}
		return verdict{}
	}
	if want := trapText(c); err == nil || !strings.Contains(trap(err), want) {
		return verdict{failed, fmt.Sprintf("%s: %v, want %s", c.Action.Field, err, want), 0}
	}
	return verdict{passed, trap(err), 0}
}

func invoke(m api.Module, a *wasmtest.Action) ([]uint64, error) {
	if a.Type == "get" {
		g := m.ExportedGlobal(a.Field)
		if g == nil {
			return nil, errors.New("no such global")
		}
		return []uint64{g.Get()}, nil
	}
	f := m.ExportedFunction(a.Field)
	if f == nil {
		return nil, errors.New("no such function")
	}
	var args []uint64
	for i := range a.Args {
		bits, err := a.Args[i].Bits()
		if err != nil {
			return nil, err
		}
		args = append(args, bits...)
	}
	return f.Call(context.Background(), args...)
}

// trapText is wazero's message for a trap of the script.
func trapText(c *wasmtest.Command) string {
	switch text := c.Text; {
	case c.Type == "assert_exception":
		return "uncaught exception"
	case strings.HasPrefix(text, "uninitialized"), strings.HasPrefix(text, "undefined"), text == "out of bounds table access":
		return "invalid table access"
	case text == "indirect call":
		return "indirect call type mismatch"
	case strings.HasPrefix(text, "null"):
		return "null reference"
	default:
		return text
	}
}
