// Package nearest finds the name that a misspelt word was meant to be.
package nearest

import "strings"

// bytesMax bounds a word that might be a slip of the hand: comparing long
// ones takes long.
const bytesMax = 64

// Name returns the first name that begins with word, or else the name
// closest to it, or "" when none is close enough to be a slip of the hand: a
// third of word's letters, at least two.
func Name(word string, names []string) string {
	if len(word) > bytesMax {
		return ""
	}
	for _, name := range names {
		if len(word) >= 2 && strings.HasPrefix(name, word) {
			return name
		}
	}
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, name := range names {
		if d := distance(word, name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, row := []int(nil), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
