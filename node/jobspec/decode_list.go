package jobspec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dugnad/dugnad/node/nearest"
)

// synonyms are words of other tools for fields of a job.
var synonyms = map[string]string{
	"attempt": "limits.timeout", "band": "priority", "command": "args", "cmd": "args",
	"cron": "schedule", "cpu": "limits.fuel", "deadline": "deadlines.total", "depends_on": "after",
	"environment": "env", "files": "inputs", "image": "module", "needs": "after",
	"parallelism": "count", "replicas": "count", "retries": "retry.attempts", "secret": "secrets", "wasm": "module",
}

func (d *decoder) list(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, "is "+kindOf(n), "write a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
	}
}

// texts reads a mapping from texts to texts.
func (d *decoder) texts(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is "+kindOf(n), "write a mapping such as NAME: value")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		if text, ok := d.text(value, at); ok {
			v.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(text))
		}
	})
}

// pairs visits the pairs of a mapping whose keys are texts and differ.
func (d *decoder) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node, at string)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := below(path, key.Value)
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!null" || key.Style&yaml.TaggedStyle != 0 {
			d.fail(key, path, "has a key that is not a text", "write the key as a word, or in quotes")
			continue
		}
		if line, ok := seen[key.Value]; ok {
			d.fail(key, at, fmt.Sprintf("is given a second time, first in line %d", line), "remove one")
			continue
		}
		seen[key.Value] = key.Line
		d.at[at] = position{key.Line, key.Column}
		visit(key, value, at)
	}
}

// below returns the path of a field of path; a name that is not fit to be shown
// is quoted.
func below(path, name string) string {
	if shown := quote(name); shown != `"`+name+`"` || name == "" {
		name = shown
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// structure reads a mapping into a struct.
func (d *decoder) structure(n *yaml.Node, path string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, "is "+kindOf(n), "write a mapping with "+strings.Join(fieldNames(v.Type()), ", "))
		return
	}
	d.fields(n, path, fieldNames(v.Type()), func(name string, value *yaml.Node, at string) {
		d.value(value, at, v.FieldByIndex(fieldIndex(v.Type(), name)))
	})
}

// fields visits the pairs of a mapping whose keys are among the names.
func (d *decoder) fields(n *yaml.Node, path string, names []string, visit func(name string, value *yaml.Node, at string)) {
	d.pairs(n, path, func(key, value *yaml.Node, at string) {
		if slices.Contains(names, key.Value) {
			visit(key.Value, value, at)
			return
		}
		if d.full() {
			d.more++ // A name is looked for in vain.
			return
		}
		help := "remove it, or use one of " + strings.Join(names, ", ")
		if meant := d.meaning(key.Value, path, names); meant != "" {
			d.meant = append(d.meant, meant)
			help = "did you mean " + meant + "?"
		}
		d.fail(key, at, "unknown field", help)
	})
}

// meaning returns the path of the field that word below path was probably meant
// to be, or "".
func (d *decoder) meaning(word, path string, names []string) string {
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	if slices.Contains(names, word) {
		return below(path, word)
	}
	if meant, ok := synonyms[word]; ok {
		return meant
	}
	for _, field := range fieldPaths() {
		if field == word || strings.HasSuffix(field, "."+word) {
			return field
		}
	}
	if name := nearest.Name(word, names); name != "" {
		return below(path, name)
	}
	return ""
}

// fieldPaths lists the fields of a Job and of the groups within it, without
// those within lists.
func fieldPaths() []string {
	var paths []string
	var visit func(t reflect.Type, path string)
	visit = func(t reflect.Type, path string) {
		for _, name := range fieldNames(t) {
			at := below(path, name)
			paths = append(paths, at)
			if f := t.FieldByIndex(fieldIndex(t, name)).Type; f.Kind() == reflect.Struct && f != reflect.TypeFor[After]() && f != reflect.TypeFor[Reference]() {
				visit(f, at)
			}
		}
	}
	visit(reflect.TypeFor[Job](), "")
	return paths
}

func fieldsOf[T any]() []string { return fieldNames(reflect.TypeFor[T]()) }

// fieldNames lists the fields of a struct as files name them.
func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// fieldIndex returns where the struct has the field that files call name.
func fieldIndex(t reflect.Type, name string) []int {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name {
			return f.Index
		}
	}
	panic("jobspec: " + t.Name() + " has no field " + name)
}
