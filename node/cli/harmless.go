package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// acts reports whether a terminal may obey a character instead of showing it: control
// characters, those that turn the direction of writing round or have no width, and
// separators of lines. Ends of lines and tabs do, too.
func acts(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == utf8.RuneError
}

// printable makes a text of the grid, which anybody may have written, one that
// does nothing to a terminal, on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case acts(r):
			return '?'
		}
		return r
	}, s)
}

// harmless is printable for texts of several lines.
func harmless(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// spelling writes what guests put out to a terminal, with all that the terminal would
// obey spelled out. Only ends of lines and tabs are left.
type spelling struct {
	w io.Writer
	// held is the beginning of a character whose end has not been written yet.
	held []byte
}

// Write implements io.Writer.
func (s *spelling) Write(p []byte) (int, error) {
	text := append(s.held, p...)
	out := make([]byte, 0, len(text)+len(text)/8)
	for len(text) > 0 && utf8.FullRune(text) {
		r, size := utf8.DecodeRune(text)
		out = appendSpelled(out, r, text[:size])
		text = text[size:]
	}
	s.held = append([]byte(nil), text...)
	if _, err := s.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what is held: the rest of a character does not come any more.
func (s *spelling) flush() {
	var out []byte
	for _, b := range s.held {
		out = fmt.Appendf(out, `\x%02x`, b)
	}
	s.held = nil
	_, _ = s.w.Write(out) // Nobody is left to hear that the terminal is gone.
}

// appendSpelled appends a character, of which raw are the bytes.
func appendSpelled(out []byte, r rune, raw []byte) []byte {
	switch {
	case r == '\n', r == '\t', r == utf8.RuneError && len(raw) > 1, !acts(r):
		return append(out, raw...)
	case len(raw) == 1:
		return fmt.Appendf(out, `\x%02x`, raw[0])
	}
	if r > 0xffff {
		return fmt.Appendf(out, `\U%08x`, r)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}

// guest returns the writer for what guests have put out. A pipe and a file get the
// bytes as they are.
func (a *app) guest(w io.Writer) io.Writer {
	if !isTerminal(w, nil) {
		return w
	}
	s := &spelling{w: w}
	a.spellings = append(a.spellings, s)
	return s
}

// jsonOut is stdout for JSON, whose encoder leaves characters in texts that a terminal
// may obey: they are escaped as JSON has it. A value has to come in one write.
func (a *app) jsonOut() io.Writer { return jsonWriter{a.Out} }

type jsonWriter struct{ w io.Writer }

// Write implements io.Writer.
func (j jsonWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < utf8.RuneSelf && r != 0x7f || !acts(r):
			out = append(out, rest[:size]...)
		case r > 0xffff:
			// Cf has such characters: a pair of surrogates.
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	if _, err := j.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
