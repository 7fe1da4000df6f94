package jobspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonLike reports whether data is a JSON object.
func jsonLike(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && json.Valid(data)
}

// yamlOf returns valid JSON in a form that YAML reads as the same: JSON allows
// tabs between values, some escapes of its own, and in its texts characters that
// YAML takes for line breaks or refuses. Values keep their line, and their column
// but for such texts before them.
func yamlOf(data []byte) []byte {
	var out []byte
	text := false
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case !text && c == '\t':
			out = append(out, ' ')
		case !text || c >= ' ' && c != '"' && c != '\\' && c < 0x7f:
			text = text != (c == '"')
			out = append(out, c)
		case c == '"':
			text = false
			out = append(out, c)
		case c == '\\' && data[i+1] == 'u':
			r, n := unicodeEscape(data[i:])
			out, i = appendEscape(out, r), i+n
			continue
		case c == '\\' && data[i+1] == '/':
			out, i = append(out, '/'), i+2
			continue
		case c == '\\':
			out, i = append(out, c, data[i+1]), i+2
			continue
		default:
			r, n := utf8.DecodeRune(data[i:])
			out, i = appendEscape(out, r), i+n
			continue
		}
		i++
	}
	return out
}

// unicodeEscape reads \uXXXX, or two of them that are one character.
func unicodeEscape(data []byte) (r rune, n int) {
	half := func(b []byte) rune {
		if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
			return utf8.RuneError
		}
		v, err := strconv.ParseUint(string(b[2:6]), 16, 32)
		if err != nil {
			return utf8.RuneError
		}
		return rune(v)
	}
	r = half(data)
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if pair := utf16.DecodeRune(r, half(data[6:])); pair != utf8.RuneError {
		return pair, 12
	}
	return utf8.RuneError, 6
}

func appendEscape(out []byte, r rune) []byte {
	if r > 0xffff {
		return fmt.Appendf(out, "\\U%08x", r)
	}
	return fmt.Appendf(out, "\\u%04x", r)
}
