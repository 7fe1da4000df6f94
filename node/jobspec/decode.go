package jobspec

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/node/nearest"
	"github.com/dugnad/dugnad/node/quantity"
)

// position is where a value begins.
type position struct{ line, column int }

// decoder fills a Job from YAML nodes and collects what is wrong.
type decoder struct {
	mistakes
	// at has the position of each value by its path.
	at map[string]position
	// meant lists the fields that unknown ones were probably meant to be.
	meant []string
}

// nodeDecoder is a type with a form of its own in a file.
type nodeDecoder interface {
	decode(d *decoder, n *yaml.Node, path string)
}

func (d *decoder) fail(n *yaml.Node, path, message, help string) {
	d.report(&Error{Line: n.Line, Column: n.Column, Field: path, Message: message, Help: help})
}

// value reads n into v.
func (d *decoder) value(n *yaml.Node, path string, v reflect.Value) {
	d.at[path] = position{n.Line, n.Column}
	if !d.plain(n, path) {
		return
	}
	switch to := v.Addr().Interface().(type) {
	case nodeDecoder:
		to.decode(d, n, path)
		return
	case enum:
		d.enum(n, path, v.Addr().Convert(reflect.TypeFor[*string]()).Interface().(*string), to)
		return
	case *Fuel, *Size, *uint64:
		d.number(n, path, v)
		return
	case *Duration:
		d.duration(n, path, to)
		return
	case *Hash:
		d.hash(n, path, to)
		return
	case *Reference:
		d.reference(n, path, to)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem())
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.texts(n, path, v)
	case reflect.Bool:
		d.boolean(n, path, v)
	default:
		if text, ok := d.text(n, path); ok {
			v.SetString(text)
		}
	}
}

// plain refuses what YAML has beyond JSON's values: aliases and tags, and values
// that are left out.
func (d *decoder) plain(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(n, path, "is an alias of YAML", "write the value out")
	case n.Style&yaml.TaggedStyle != 0 && strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!"):
		d.fail(n, path, quote(n.Tag)+" is a tag of YAML", "put the text into quotes: "+quote(strings.TrimSpace(n.Tag+" "+n.Value)))
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(n, path, quote(n.Tag)+" is a tag of YAML", "remove it")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.fail(n, path, "has no value", "give it one or remove it; the text null goes into quotes")
	default:
		return true
	}
	return false
}

// kindOf names what n is, for messages.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return quote(n.Value)
	}
}

// text returns the text of a scalar as it stands in the file: 010 and yes stay
// what they are.
func (d *decoder) text(n *yaml.Node, path string) (string, bool) {
	if !d.plain(n, path) {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "is "+kindOf(n), "write a text")
		return "", false
	}
	return n.Value, true
}

func (d *decoder) boolean(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		d.fail(n, path, kindOf(n)+" is neither true nor false", "write true or false")
		return
	}
	v.SetBool(n.Value == "true")
}

func (d *decoder) enum(n *yaml.Node, path string, to *string, e enum) {
	d.at[path] = position{n.Line, n.Column}
	text, ok := d.text(n, path)
	if !ok {
		return
	}
	if message, help := chosen(text, e); message != "" {
		d.fail(n, path, message, help)
		return
	}
	*to = text
}

// chosen says what is wrong with text as one of e's names.
func chosen(text string, e enum) (message, help string) {
	names := e.names()
	if slices.Contains(names, text) {
		return "", ""
	}
	help = "write one of them"
	if name := nearest.Name(text, names); name != "" {
		help = "did you mean " + name + "?"
	}
	return fmt.Sprintf("%s is none of %s", quote(text), strings.Join(names, ", ")), help
}

// number reads an amount, with the units of its type.
func (d *decoder) number(n *yaml.Node, path string, v reflect.Value) {
	b := boundOf(path)
	parse, example := quantity.ParseCount, strconv.FormatUint(max(b.low, 1), 10)
	switch v.Interface().(type) {
	case Fuel:
		parse, example = quantity.ParseFuel, "500M"
	case Size:
		parse, example = quantity.ParseBytes, "64MiB"
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "is "+kindOf(n), "write a number such as "+example)
		return
	}
	amount, err := parse(n.Value)
	switch {
	case strings.Trim(n.Value, "0") == "" && n.Value != "":
		amount = 0 // Validate says whether it may be.
	case errors.Is(err, quantity.ErrTooLarge):
		d.fail(n, path, quote(n.Value)+" is too large: at most "+b.text(b.high), "write a number such as "+example)
		return
	case err != nil:
		d.fail(n, path, fmt.Sprintf("%s is not a whole number from %s to %s", quote(n.Value), b.text(b.low), b.text(b.high)), "write a number such as "+example)
		return
	}
	v.SetUint(amount)
}

func (d *decoder) duration(n *yaml.Node, path string, to *Duration) {
	help := "write a time such as 500ms, 30s or 2h"
	if n.Kind != yaml.ScalarNode {
		d.fail(n, path, "is "+kindOf(n), help)
		return
	}
	span, err := quantity.ParseDuration(n.Value)
	if zero, zeroErr := time.ParseDuration(n.Value); zeroErr == nil && zero == 0 {
		span, err = 0, nil // Validate says whether it may be.
	}
	if err != nil {
		b := boundOf(path)
		d.fail(n, path, fmt.Sprintf("%s is not a time from %s to %s", quote(n.Value), b.text(b.low), b.text(b.high)), help)
		return
	}
	*to = Duration(span)
}

func (d *decoder) hash(n *yaml.Node, path string, to *Hash) {
	text, ok := d.text(n, path)
	if !ok {
		return
	}
	h, err := ParseHash(text)
	if err != nil {
		d.fail(n, path, quote(text)+" "+errHash.Error(), "use path for a file")
		return
	}
	*to = h
}

func (d *decoder) reference(n *yaml.Node, path string, to *Reference) {
	text, ok := d.text(n, path)
	if !ok {
		return
	}
	r, err := ParseReference(text)
	if err != nil {
		d.fail(n, path, quote(text)+" "+errHash.Error(), "write ./"+hashPrefix+"… for a file of such a name")
		return
	}
	*to = r
}
