package cli

import "github.com/dugnad/dugnad/node/nearest"

// didYouMean is " (did you mean NAME?)" or nothing.
func didYouMean(word, prefix string, names []string) string {
	if name := nearest.Name(word, names); name != "" {
		return " (did you mean " + prefix + name + "?)"
	}
	return ""
}
