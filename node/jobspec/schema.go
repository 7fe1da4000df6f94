package jobspec

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// Schema returns the JSON Schema (2020-12) of a job file, for editors and for
// those who make job files. It is made from the types and lies beside this file
// as schema.json. What it accepts Parse may still refuse, for what a schema
// cannot say.
func Schema() []byte { return schema() }

var schema = sync.OnceValue(func() []byte {
	root := schemaOf(reflect.TypeFor[Job](), "", defaults())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Dugnad job"
	root["required"] = []string{"module"}
	root["if"] = map[string]any{"required": []string{"kind"}, "properties": map[string]any{"kind": map[string]any{"const": KindCron}}}
	root["then"] = map[string]any{"required": []string{"schedule"}}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("jobspec: the schema is no JSON: " + err.Error())
	}
	return append(b, '\n')
})

// defaults is Default in its JSON form.
func defaults() any {
	b, err := json.Marshal(Default())
	if err != nil {
		panic("jobspec: the defaults are no JSON: " + err.Error())
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		panic("jobspec: the defaults are no JSON: " + err.Error())
	}
	return v
}

// Forms of texts.
const (
	numberPattern   = `^\s*[0-9][0-9_.eE+]*\s*[kKMGTP]?\s*$`
	sizePattern     = `^\s*[0-9][0-9_.eE+]*\s*([KMGT]i?B?|[kmg]|kB|B)?\s*$`
	durationPattern = `^\s*\+?([0-9.]+(ns|us|µs|μs|ms|s|m|h)?)+\s*$`
	hashPattern     = `^sha256:[0-9a-fA-F]{64}$`
	jobIDPattern    = `^[0-9a-fA-F]{32}$`
	secretPattern   = `^[A-Za-z_][A-Za-z0-9_]{0,63}$`
	labelPattern    = `^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$`
	retryOnPattern  = `^exit:[1-9][0-9]*$`
)

// words are scalars of which the text counts: 80 and yes need no quotes.
func words() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

func pattern(p string) map[string]any { return map[string]any{"type": "string", "pattern": p} }

func listOf(items map[string]any, most int) map[string]any {
	return map[string]any{"type": "array", "items": items, "maxItems": most}
}

// schemaOf returns the schema of a field. Numbers have their bounds, texts of
// numbers only their form.
func schemaOf(t reflect.Type, path string, standard any) map[string]any {
	s := typeSchema(t, path, standard)
	if doc := docs[path]; doc != "" {
		s["description"] = doc
	}
	switch standard.(type) {
	case nil, map[string]any:
	default:
		if standard != "" {
			s["default"] = standard
		}
	}
	return s
}

func typeSchema(t reflect.Type, path string, standard any) map[string]any {
	switch path {
	case "args", "env":
		s := map[string]any{"type": "array", "items": words()}
		if path == "env" {
			s = map[string]any{"type": "object", "additionalProperties": words()}
		}
		return s
	case "labels":
		value := words()
		value["pattern"] = labelPattern
		return map[string]any{"type": "object", "additionalProperties": value}
	case "secrets":
		return map[string]any{"type": "object", "additionalProperties": pattern(secretPattern)}
	case "constraints.features":
		return listOf(pattern("."), ledger.FeaturesMax)
	case "capabilities":
		return listOf(map[string]any{"enum": []string{abi.CapabilityHTTP}}, 1)
	case "http.hosts":
		return listOf(pattern("."), task.HTTPHostsMax)
	case "retry.on":
		return listOf(map[string]any{"anyOf": []any{map[string]any{"enum": RetryOutcomes()}, pattern(retryOnPattern)}}, RetryOnMax)
	}
	switch reflect.Zero(t).Interface().(type) {
	case Labels:
		value := words()
		list := listOf(words(), ledger.ConstraintsMax)
		return map[string]any{"anyOf": []any{list, map[string]any{
			"type": "object", "additionalProperties": map[string]any{"anyOf": []any{value, list}},
		}}}
	case After:
		return afterSchema()
	case enum:
		return map[string]any{"enum": reflect.Zero(t).Interface().(enum).names()}
	case Hash:
		return pattern(hashPattern)
	case JobID:
		return pattern(jobIDPattern)
	case Reference:
		return map[string]any{"anyOf": []any{pattern(hashPattern), map[string]any{"type": "string", "minLength": 1, "not": map[string]any{"pattern": "^" + hashPrefix}}}}
	case Duration:
		return map[string]any{"type": []string{"string", "number"}, "pattern": durationPattern, "minimum": 0}
	case Size:
		return numberSchema(path, sizePattern)
	case Fuel, uint64:
		return numberSchema(path, numberPattern)
	}
	return shapeSchema(t, path, standard)
}

// shapeSchema is for types that have nothing of their own.
func shapeSchema(t reflect.Type, path string, standard any) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return typeSchema(t.Elem(), path, standard)
	case reflect.Slice:
		return listOf(schemaOf(t.Elem(), path+"[]", nil), InputsMax)
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Struct:
		properties, required := map[string]any{}, []string{}
		values, _ := standard.(map[string]any)
		for _, f := range reflect.VisibleFields(t) {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				continue
			}
			properties[name] = schemaOf(f.Type, below(path, name), values[name])
			if options == "" && values == nil {
				required = append(required, name)
			}
		}
		s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			s["required"] = required
		}
		return s
	default:
		return map[string]any{"type": "string"}
	}
}

func numberSchema(path, form string) map[string]any {
	b := boundOf(path)
	return map[string]any{"type": []string{"integer", "string"}, "minimum": b.low, "maximum": b.high, "pattern": form}
}

func afterSchema() map[string]any {
	jobs := listOf(pattern(jobIDPattern), ledger.AfterMax)
	return map[string]any{"anyOf": []any{jobs, map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"jobs"},
		"properties": map[string]any{
			"jobs":      jobs,
			"condition": map[string]any{"enum": Condition("").names(), "default": Succeeded, "description": docs["after.condition"]},
		},
	}}}
}
