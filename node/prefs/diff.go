package prefs

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valueShownMax bounds a value in what Diff returns.
const valueShownMax = 100

// Diff says key by key what another file changes: "cores: 50% instead of 25%". Both are
// files that Parse has read; one that it has not counts as empty.
func Diff(before, after []byte) (changes []string) {
	was, is := values(before), values(after)
	keys := slices.Collect(maps.Keys(was))
	for key := range is {
		if _, known := was[key]; !known {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		old, had := was[key]
		value, has := is[key]
		switch {
		case !has:
			changes = append(changes, key+": not set any more, was "+old)
		case !had:
			changes = append(changes, key+": "+value)
		case old != value:
			changes = append(changes, key+": "+value+" instead of "+old)
		}
	}
	return changes
}

// values are those of a file's keys, each in a line.
func values(text []byte) map[string]string {
	out := map[string]string{}
	root, err := mapping(text)
	if err != nil || root == nil {
		return out
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		out[root.Content[i].Value] = flow(root.Content[i+1])
	}
	return out
}

// flow is a value in a line, without its comments.
func flow(n *yaml.Node) string {
	var text string
	switch n.Kind {
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, item := range n.Content {
			parts[i] = flow(item)
		}
		text = "[" + strings.Join(parts, ", ") + "]"
	case yaml.MappingNode:
		var parts []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, n.Content[i].Value+": "+flow(n.Content[i+1]))
		}
		text = "{" + strings.Join(parts, ", ") + "}"
	default:
		text = n.Value
	}
	if len(text) > valueShownMax {
		return strings.ToValidUTF8(text[:valueShownMax], "") + "…"
	}
	return text
}
