package observe

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// token is a part of an expression of Prometheus' query language: a word, a text in
// quotes, or one sign.
type token struct {
	kind rune // 'w', 's', or the sign itself
	text string
}

// tokens takes an expression apart. What is in brackets, spans of time, is left out.
func tokens(expression string) (list []token) {
	for i := 0; i < len(expression); {
		c := rune(expression[i])
		end := i + 1
		switch {
		case unicode.IsSpace(c):
		case c == '"' || c == '\'' || c == '`':
			for end < len(expression) && rune(expression[end]) != c {
				end++
			}
			list = append(list, token{'s', expression[i+1 : end]})
			end++
		case c == '[':
			for end < len(expression) && expression[end] != ']' {
				end++
			}
			end++
		case isWord(c):
			for end < len(expression) && isWord(rune(expression[end])) {
				end++
			}
			list = append(list, token{'w', expression[i:end]})
		default:
			list = append(list, token{c, string(c)})
		}
		i = end
	}
	return list
}

func isWord(c rune) bool {
	return c == '_' || c == ':' || c == '.' || unicode.IsLetter(c) || unicode.IsDigit(c)
}

var (
	functions = strings.Fields("sum count max min avg rate increase histogram_quantile")
	operators = strings.Fields("and or unless bool offset")
	// groupings are followed by labels in parentheses.
	groupings = strings.Fields("by without on ignoring group_left group_right")
	// targetLabels are what Prometheus adds.
	targetLabels = []string{"job", "instance"}
)

// check says what in an expression is not in the catalogue: metrics, and labels that no
// metric of the expression has.
func check(expression string, catalogue map[string]Metric) error {
	// up and le are Prometheus' own.
	labels := slices.Clone(targetLabels)
	var used []string
	list := append(tokens(expression), token{})
	for i := 0; i+1 < len(list); i++ {
		word, next := list[i].text, list[i+1].kind
		switch {
		case list[i].kind == '{':
			for i++; list[i].kind != '}' && i+1 < len(list); i++ {
				if sign := list[i+1].kind; list[i].kind == 'w' && (sign == '=' || sign == '!') {
					used = append(used, list[i].text)
				}
			}
		case list[i].kind != 'w' || unicode.IsDigit(rune(word[0])) || slices.Contains(operators, word):
		case slices.Contains(groupings, word):
			for i++; list[i].kind != ')' && i+1 < len(list); i++ {
				if list[i].kind == 'w' {
					used = append(used, list[i].text)
				}
			}
		case slices.Contains(functions, word):
			if next != '(' && !slices.Contains(groupings, list[i+1].text) {
				return fmt.Errorf("%s is called without arguments", word)
			}
		case word == "up":
		default:
			m, ok := find(word, catalogue)
			if !ok {
				return fmt.Errorf("there is no metric %s", word)
			}
			labels = append(labels, m.Labels...)
		}
	}
	for _, l := range used {
		if !slices.Contains(labels, l) {
			return fmt.Errorf("none of its metrics has the label %s", l)
		}
	}
	return nil
}

// find finds a metric by its name, or by that of one of a histogram's series.
func find(name string, catalogue map[string]Metric) (Metric, bool) {
	if m, ok := catalogue[name]; ok {
		return m, m.Type != "histogram"
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if m, ok := catalogue[strings.TrimSuffix(name, suffix)]; ok && m.Type == "histogram" {
			if suffix == "_bucket" {
				m.Labels = append(slices.Clone(m.Labels), "le")
			}
			return m, true
		}
	}
	return Metric{}, false
}
