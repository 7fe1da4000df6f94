// Command wordcount counts the words of every file below the folders and files
// that it is given, or of its stdin: most frequent first, then by alphabet. With
// -in FOLDER it counts those of the files in FOLDER that its stdin names, one in
// each line. A word is a run of letters, in lower case.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	counts := map[string]int{}
	switch {
	case len(paths) == 0:
		if err := count(os.Stdin, counts); err != nil {
			return err
		}
	case paths[0] == "-in":
		var err error
		if paths, err = named(paths[1:]); err != nil {
			return err
		}
	}
	if err := countAll(paths, counts); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for _, word := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	}) {
		fmt.Fprintf(out, "%7d %s\n", counts[word], word)
	}
	return out.Flush()
}

// named returns the files in a folder that stdin names.
func named(folder []string) (paths []string, err error) {
	if len(folder) != 1 {
		return nil, fmt.Errorf("usage: wordcount [-in FOLDER | PATH…]")
	}
	for lines := bufio.NewScanner(os.Stdin); ; {
		if !lines.Scan() {
			return paths, lines.Err()
		}
		paths = append(paths, filepath.Join(folder[0], lines.Text()))
	}
}

// countAll counts the words of every file below the paths.
func countAll(paths []string, counts map[string]int) error {
	for _, p := range paths {
		err := filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			return count(f, counts)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func count(r io.Reader, counts map[string]int) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	words := strings.FieldsFunc(strings.ToLower(string(text)), func(c rune) bool { return !unicode.IsLetter(c) })
	for _, w := range words {
		counts[w]++
	}
	return nil
}
