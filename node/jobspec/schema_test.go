package jobspec

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// set sets a number of a job by the path of its field.
func set(t *testing.T, job *Job, field string, n uint64) {
	t.Helper()
	v := reflect.ValueOf(job).Elem()
	for _, name := range strings.Split(field, ".") {
		v = v.FieldByIndex(fieldIndex(v.Type(), name))
	}
	if v.CanInt() {
		v.SetInt(int64(n))
	} else {
		v.SetUint(n)
	}
}

// TestBounds: each row of the table is about the field that it names, and each
// number has a row.
func TestBounds(t *testing.T) {
	numbers := 0
	for _, path := range fieldPaths() {
		v := reflect.ValueOf(Default())
		for _, name := range strings.Split(path, ".") {
			v = v.FieldByIndex(fieldIndex(v.Type(), name))
		}
		if v.CanInt() || v.CanUint() {
			numbers++
			boundOf(path) // panics without a row
		}
	}
	if numbers != len(bounds()) {
		t.Errorf("%d numbers and %d bounds", numbers, len(bounds()))
	}
	for _, b := range bounds() {
		job := Default()
		job.Module.Object[0] = 1
		set(t, &job, b.field, b.high)
		if got := b.get(&job); got != b.high {
			t.Errorf("%s is %d after it was set to %d", b.field, got, b.high)
		}
		if b.high == math.MaxUint64 {
			continue
		}
		set(t, &job, b.field, b.high+1)
		if err := job.Validate(); err == nil || !strings.Contains(err.Error(), b.field+": is ") || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s above its limit: %v", b.field, err)
		}
	}
}

func TestSchema(t *testing.T) {
	golden(t, "schema.json", Schema())
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	inSchema := map[string]bool{}
	properties(root, "", inSchema)
	inDocs := map[string]bool{"inputs[]": true}
	for path, doc := range docs {
		if !strings.HasSuffix(doc, ".") || !strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWXYZ", doc[:1]) && !strings.Contains(doc[:12], ":") && !strings.HasPrefix(doc, "exit") {
			t.Errorf("%s: %q is no sentence", path, doc)
		}
		inDocs[path] = true
	}
	inSchema["inputs[]"] = true
	for path := range inSchema {
		if !inDocs[path] && path != "after.jobs" {
			t.Errorf("%s has no text in docs", path)
		}
	}
	for path := range inDocs {
		if !inSchema[path] {
			t.Errorf("docs tells of %s, which the schema does not have", path)
		}
	}
	for _, path := range fieldPaths() {
		if !inSchema[path] {
			t.Errorf("the field %s is not in the schema", path)
		}
	}
}

// properties collects the paths of all properties.
func properties(s map[string]any, path string, into map[string]bool) {
	if items, ok := s["items"].(map[string]any); ok {
		properties(items, path+"[]", into)
	}
	for _, of := range list(s["anyOf"]) {
		properties(of.(map[string]any), path, into)
	}
	fields, _ := s["properties"].(map[string]any)
	for name, field := range fields {
		into[below(path, name)] = true
		properties(field.(map[string]any), below(path, name), into)
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// TestSchemaAccepts: the schema takes the good examples, and finds what is wrong
// with the shape of the bad ones.
func TestSchemaAccepts(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	for name, data := range files(t, "good") {
		if errs := violations(root, value(t, data), ""); len(errs) > 0 {
			t.Errorf("%s: %s", name, strings.Join(errs, "; "))
		}
	}
	for _, name := range []string{
		"unknown_fields", "numbers", "shapes", "nulls", "hashes", "after", "after_condition", "no_module",
		"cron_without_schedule", "kind", "retry", "json", "null", "list", "text",
	} {
		if errs := violations(root, value(t, files(t, "bad")["testdata/bad/"+name+".yaml"]), ""); len(errs) == 0 {
			t.Errorf("%s: the schema finds nothing wrong", name)
		}
	}
}

// value reads a file as a JSON value.
func value(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if jsonLike(data) {
		data = yamlOf(data)
	}
	if err := yaml.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// violations is as much of a JSON Schema validator as the schema needs; it fails
// on a keyword that it does not know.
func violations(s map[string]any, v any, path string) []string {
	var errs []string
	fail := func(format string, a ...any) { errs = append(errs, path+": "+fmt.Sprintf(format, a...)) }
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		arg := s[keyword]
		switch keyword {
		case "$schema", "title", "description", "default", "then", "additionalProperties":
		case "type":
			if !hasType(arg, v) {
				fail("%v is not of type %v", v, arg)
			}
		case "enum":
			if !slices.Contains(list(arg), v) {
				fail("%v is none of %v", v, arg)
			}
		case "const":
			if v != arg {
				fail("%v is not %v", v, arg)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(text) {
				fail("%q does not match %s", text, arg)
			}
		case "minLength":
			if text, ok := v.(string); ok && float64(utf8.RuneCountInString(text)) < arg.(float64) {
				fail("%q is too short", text)
			}
		case "minimum", "maximum":
			if n, ok := v.(float64); ok && (keyword == "minimum" && n < arg.(float64) || keyword == "maximum" && n > arg.(float64)) {
				fail("%v is beyond %s %v", n, keyword, arg)
			}
		case "not":
			if len(violations(arg.(map[string]any), v, path)) == 0 {
				fail("%v is not allowed", v)
			}
		case "anyOf":
			if !slices.ContainsFunc(list(arg), func(of any) bool { return len(violations(of.(map[string]any), v, path)) == 0 }) {
				fail("%v fits none", v)
			}
		case "if":
			if len(violations(arg.(map[string]any), v, path)) == 0 {
				errs = append(errs, violations(s["then"].(map[string]any), v, path)...)
			}
		case "maxItems":
			if float64(len(list(v))) > arg.(float64) {
				fail("has too many items")
			}
		case "items":
			for i, item := range list(v) {
				errs = append(errs, violations(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", path, i))...)
			}
		case "required":
			if fields, ok := v.(map[string]any); ok {
				for _, name := range list(arg) {
					if _, ok := fields[name.(string)]; !ok {
						fail("%s is missing", name)
					}
				}
			}
		case "properties":
			errs = append(errs, fieldViolations(s, v, path)...)
		default:
			fail("the test does not know the keyword %s", keyword)
		}
	}
	if s["properties"] == nil && s["additionalProperties"] != nil {
		errs = append(errs, fieldViolations(s, v, path)...)
	}
	return errs
}

func fieldViolations(s map[string]any, v any, path string) (errs []string) {
	fields, _ := v.(map[string]any)
	known, _ := s["properties"].(map[string]any)
	for name, field := range fields {
		at := below(path, name)
		if of, ok := known[name].(map[string]any); ok {
			errs = append(errs, violations(of, field, at)...)
		} else if of, ok := s["additionalProperties"].(map[string]any); ok {
			errs = append(errs, violations(of, field, at)...)
		} else if s["additionalProperties"] == false {
			errs = append(errs, at+": unknown field")
		}
	}
	return errs
}

func hasType(arg, v any) bool {
	if types, ok := arg.([]any); ok {
		return slices.ContainsFunc(types, func(one any) bool { return hasType(one, v) })
	}
	switch v := v.(type) {
	case string:
		return arg == "string"
	case bool:
		return arg == "boolean"
	case float64:
		return arg == "number" || arg == "integer" && v == math.Trunc(v)
	case []any:
		return arg == "array"
	case map[string]any:
		return arg == "object"
	}
	return false
}
