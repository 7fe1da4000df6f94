package lint

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// The codes of refusals that no feature names. They are stable.
const (
	// CodeNotModule refuses a file that is something else.
	CodeNotModule = "not_a_module"
	// CodeComponent refuses a binary of the component model.
	CodeComponent = "component"
	// CodeInvalid refuses bytes that are not a valid module.
	CodeInvalid = "invalid_module"
	// CodeLimit refuses a module that exceeds one of the Limits.
	CodeLimit = "limit_exceeded"
	// CodeReserved refuses names that belong to the meter.
	CodeReserved = "name_reserved"
	// CodeFeature begins the codes of features outside the accepted set, such
	// as feature_threads.
	CodeFeature = "feature_"
)

// Refusal says why a module may not be compiled.
type Refusal struct {
	// Code is one of the constants above, or CodeFeature and a feature's name.
	Code string
	// Limit is the name of the exceeded limit, and empty for other codes.
	Limit string
	// Found and Max are the module's value and the greatest that is accepted;
	// both are 0 unless Limit is set.
	Found, Max uint64
	// Section names the section of the module, or "module".
	Section string
	// Offset is the place in the module, in bytes from its beginning.
	Offset int
	// Function is the index of the function, or -1.
	Function int
	// Detail says in a few words what is wrong.
	Detail string
	// Help says what to do about it.
	Help string
}

// Error implements error, as one readable sentence.
func (r *Refusal) Error() string {
	var b strings.Builder
	if r.Function >= 0 {
		fmt.Fprintf(&b, "function %d: ", r.Function)
	}
	b.WriteString(r.Detail)
	if r.Code != CodeNotModule && r.Code != CodeComponent {
		fmt.Fprintf(&b, " at offset %#x", r.Offset)
		if r.Section != "module" {
			fmt.Fprintf(&b, " (%s section)", r.Section)
		}
	}
	if strings.HasPrefix(r.Code, CodeFeature) || r.Code == CodeReserved {
		b.WriteString(", which is not accepted")
	}
	if r.Limit != "" {
		fmt.Fprintf(&b, "; the limit is %d (%s)", r.Max, r.Limit)
	}
	if r.Help != "" {
		b.WriteString(": " + r.Help)
	}
	return b.String()
}

// invalid refuses bytes that break the specification.
func invalid(at int, format string, args ...any) error {
	return &Refusal{
		Code: CodeInvalid, Offset: at, Function: -1, Detail: fmt.Sprintf(format, args...),
		Help: "the file is damaged or what built it is at fault; build it again and check it with `wasm-tools validate`",
	}
}

// over refuses a value beyond a limit. The format takes found.
func over(at int, limit string, found, most uint64, format string) error {
	return &Refusal{
		Code: CodeLimit, Limit: limit, Found: found, Max: most, Offset: at, Function: -1,
		Detail: fmt.Sprintf(format, found), Help: limitHelp[limit],
	}
}

// feature refuses what the accepted set leaves out.
func feature(at int, f *featureInfo, what string) error {
	return &Refusal{
		Code: CodeFeature + f.code, Offset: at, Function: -1,
		Detail: fmt.Sprintf("%s needs %s", what, f.title), Help: f.help,
	}
}

// refusal completes err with the place that the checker has reached.
func (c *checker) refusal(err error) error {
	var r *Refusal
	var syntax *wasm.SyntaxError
	var opcode *wasm.OpcodeError
	switch {
	case errors.As(err, &r):
	case errors.As(err, &opcode):
		errors.As(unknownOpcode(opcode), &r)
	case errors.As(err, &syntax):
		errors.As(invalid(syntax.Offset, "%s", syntax.Detail), &r)
	default:
		return err
	}
	r.Section, r.Function = c.section, c.function
	return r
}
