package cli

import (
	"bytes"
	"unicode/utf8"
)

// topSequences are what terminals send for keys without a character.
var topSequences = []struct{ bytes, key string }{
	{"\x1b[A", "up"},
	{"\x1bOA", "up"},
	{"\x1b[B", "down"},
	{"\x1bOB", "down"},
	{"\x1b[C", "right"},
	{"\x1bOC", "right"},
	{"\x1b[D", "left"},
	{"\x1bOD", "left"},
	{"\x1b[5~", "pgup"},
	{"\x1b[6~", "pgdn"},
	{"\x1b[H", "home"},
	{"\x1b[F", "end"},
	{"\x1b[1~", "home"},
	{"\x1b[4~", "end"},
	{"\t", "tab"},
	{"\x03", "ctrl-c"},
	{"\x1a", "ctrl-z"},
}

// readKey takes the first key off what a terminal has sent. A sequence that is not
// known is a key without a name; an escape alone is one if nothing is behind it.
func readKey(in []byte) (key string, rest []byte) {
	for _, s := range topSequences {
		if rest, ok := bytes.CutPrefix(in, []byte(s.bytes)); ok {
			return s.key, rest
		}
	}
	switch {
	case len(in) == 0:
		return "", nil
	case len(in) == 1 && in[0] == 0x1b:
		return "esc", nil
	case in[0] == 0x1b:
		return "", in[sequenceBytes(in):]
	}
	r, n := utf8.DecodeRune(in)
	if r == utf8.RuneError || r < ' ' {
		return "", in[n:]
	}
	return string(r), in[n:]
}

// sequenceBytes is how long an unknown sequence is: of those that begin with a
// bracket, to the first letter or tilde.
func sequenceBytes(in []byte) int {
	if in[1] != '[' && in[1] != 'O' {
		return 2
	}
	for i := 2; i < len(in); i++ {
		if in[i] >= 0x40 && in[i] <= 0x7e {
			return i + 1
		}
	}
	return len(in)
}
