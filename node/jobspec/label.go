package jobspec

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/ledger"
)

// Labels are demands on a node's labels. A file gives them as a mapping,
//
//	zone: oslo            # must have this value
//	rack: ["!a", "!b"]    # must not have these
//	battery: "!"          # must not have the label
//
// or as the list that the JSON form is: zone=oslo, rack!=a, rack!=b, !battery.
type Labels []ledger.Constraint

// MarshalJSON writes the list form.
func (l Labels) MarshalJSON() ([]byte, error) {
	texts := make([]string, len(l))
	for i, c := range l {
		texts[i] = c.String()
	}
	return json.Marshal(texts)
}

func (l *Labels) decode(d *decoder, n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if text, ok := d.text(item, at); ok {
				l.add(d, item, at, text)
			}
		}
	case yaml.MappingNode:
		d.pairs(n, path, func(key, value *yaml.Node, at string) { l.demand(d, key.Value, value, at) })
	default:
		d.fail(n, path, "is "+kindOf(n), "write a mapping such as zone: oslo, or a list such as [zone=oslo]")
	}
}

// add reads one text of the list form.
func (l *Labels) add(d *decoder, n *yaml.Node, path, text string) {
	name, value, equal := strings.Cut(text, "=")
	c := ledger.Constraint{Label: name, Value: value}
	switch label, not := strings.CutSuffix(name, "!"); {
	case equal && not && value == "":
		d.fail(n, path, quote(text)+" has no value", "write "+quote("!"+label)+" for nodes without the label")
		return
	case equal && not:
		c.Label, c.Not = label, true
	case equal:
	case strings.HasPrefix(text, "!"):
		c.Label, c.Not = text[1:], true
	default:
		d.fail(n, path, quote(text)+" is no demand on a label", "write label=value, label!=value or !label")
		return
	}
	*l = append(*l, c)
}

// demand reads what the mapping form says of one label: a text or a list.
func (l *Labels) demand(d *decoder, label string, n *yaml.Node, path string) {
	if n.Kind == yaml.SequenceNode {
		if !d.plain(n, path) {
			return
		}
		for i, item := range n.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			if text, ok := d.text(item, at); ok {
				*l = append(*l, demandOf(label, text))
			}
		}
		return
	}
	if text, ok := d.text(n, path); ok {
		*l = append(*l, demandOf(label, text))
	}
}

func demandOf(label, text string) ledger.Constraint {
	value, not := strings.CutPrefix(text, "!")
	return ledger.Constraint{Label: label, Value: value, Not: not}
}

// check reports labels that the ledger refuses, that cannot be written down, and
// those that no node can meet.
func (l Labels) check(c *checker) {
	field := "constraints.labels"
	if len(l) > ledger.ConstraintsMax {
		c.add(field, fmt.Sprintf("has %d demands, at most %d", len(l), ledger.ConstraintsMax), "ask for less")
	}
	wanted := map[string]string{}
	for _, demand := range l {
		c.words(field, "label", demand.Label, ledger.TextBytesMax)
		if strings.HasPrefix(demand.Label, "!") || strings.HasSuffix(demand.Label, "!") || strings.Contains(demand.Label, "=") {
			c.add(field, "the label "+quote(demand.Label)+" holds ! or =", "write label: \"!value\" for what a node must not have")
		}
		if demand.Value != "" {
			c.words(field, "value", demand.Value, ledger.TextBytesMax)
		}
		if !demand.Not {
			if strings.HasPrefix(demand.Value, "!") {
				c.add(field, "the value "+quote(demand.Value)+" begins with !", "use a label whose values do not")
			}
			if first, ok := wanted[demand.Label]; ok && first != demand.Value {
				c.add(field, fmt.Sprintf("no node has both %s=%s and %s=%s", demand.Label, first, demand.Label, demand.Value), "ask for one of them")
			}
			wanted[demand.Label] = demand.Value
		}
	}
}
