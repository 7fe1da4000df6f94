package jobspec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a job file. Its error is Errors. The job is valid, but for the
// files that the client has to upload first: Job.Paths lists them.
func Parse(data []byte) (*Job, error) {
	root, err := document(data)
	if err != nil {
		return nil, Errors{err}
	}
	job := Default()
	d := &decoder{at: map[string]position{}}
	d.value(root, "", reflect.ValueOf(&job).Elem())
	if _, given := d.at["limits.fuel"]; !given {
		job.Limits.Fuel = DefaultFuel(job.Count)
	}
	if job.Kind == KindCron {
		job.scheduled()
	}
	if !d.full() {
		d.check(&job)
	}
	if err := d.orNil(); err != nil {
		return nil, err
	}
	return &job, nil
}

// check adds what is wrong with the values. One that could not be read is the
// default now: what follows from that is no mistake of its own.
func (d *decoder) check(job *Job) {
	unread := d.errs
	if d.explained(unread, "kind") {
		d.meant = append(d.meant, "schedule", "timezone", "overlap", "catch_up")
	}
	c := job.check()
	for _, e := range c.errs {
		if d.explained(unread, e.Field) {
			continue
		}
		at := d.position(e.Field)
		e.Line, e.Column = at.line, at.column
		d.report(e)
	}
	d.more += c.more
}

// scheduled sets what a cron job leaves out.
func (j *Job) scheduled() {
	if j.Timezone == "" {
		j.Timezone = "UTC"
	}
	if j.Overlap == "" {
		j.Overlap = OverlapSkip
	}
	if j.CatchUp == "" {
		j.CatchUp = CatchUpNone
	}
}

// explained reports whether a mistake that was told, or an unknown field that was
// meant to be it, explains that field is not as it should be.
func (d *decoder) explained(told Errors, field string) bool {
	explains := func(path string) bool {
		rest, ok := strings.CutPrefix(field, path)
		return path == "" || ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return slices.ContainsFunc(d.meant, explains) ||
		slices.ContainsFunc(told, func(e *Error) bool { return explains(e.Field) })
}

// position returns where the value of field is, or what should hold it.
func (d *decoder) position(field string) position {
	for field != "" {
		if at, ok := d.at[field]; ok {
			return at
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return d.at[""]
}

// document returns the one value that data holds.
func document(data []byte) (*yaml.Node, *Error) {
	if len(data) > FileBytesMax {
		return nil, &Error{
			Message: fmt.Sprintf("the file has %d bytes, at most %d", len(data), FileBytesMax),
			Help:    "put what is long into files, and name them in inputs",
		}
	}
	const help = "write at least module: FILE.wasm"
	root, err := Mapping(data, "write one job per file", help)
	if root == nil && err == nil {
		err = &Error{Message: "the file is empty", Help: help}
	}
	return root, err
}

// Mapping returns the one mapping that a YAML or JSON file holds, nil when the file is
// empty. The texts say what to do about a second one, and about another value.
func Mapping(data []byte, one, help string) (*yaml.Node, *Error) {
	if jsonLike(data) {
		data = yamlOf(data)
	}
	files := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := files.Decode(&first)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxError(err)
	case len(first.Content) != 1:
		return nil, nil
	}
	switch err := files.Decode(&second); {
	case err == nil:
		return nil, &Error{Line: second.Line, Column: second.Column, Message: "the file holds a second document", Help: one}
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	root := first.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, &Error{Line: root.Line, Column: root.Column, Message: "the file is " + kindOf(root), Help: help}
	}
	return root, nil
}

var syntaxMessage = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxError gives what the YAML library says a place.
func syntaxError(err error) *Error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	e := &Error{Line: 1, Message: text, Help: "see to indentation, quotes and brackets there or in the line before"}
	if m := syntaxMessage.FindStringSubmatch(text); m != nil {
		e.Message = "not YAML: " + m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			e.Line = line
		}
	}
	return e
}
