package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// gather copies the files below from whose names end so to the folder to, which
// is all that a guest gets to see, and returns their paths in it. Folders whose
// names begin with a dot are left out, and what was built.
func gather(from, to, end string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(from), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || path == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular() || !strings.HasSuffix(path, end):
			return nil
		}
		names = append(names, path)
		text, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			return err
		}
		copied := filepath.Join(to, path)
		return errors.Join(os.MkdirAll(filepath.Dir(copied), 0o700), os.WriteFile(copied, text, 0o600))
	})
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("no *%s files in %s", end, from)
	}
	return names, err
}

// wordsShown bounds the words of which is said that their counts are wrong.
const wordsShown = 20

// sameWords counts the words in folder, letter by letter, and compares.
func sameWords(folder, stdout string) error {
	want := map[string]int{}
	if err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		countWords(text, want)
		return err
	}); err != nil {
		return err
	}
	got, total := map[string]int{}, 0
	for line := range strings.Lines(stdout) {
		var n int
		var word string
		if _, err := fmt.Sscan(line, &n, &word); err != nil {
			return fmt.Errorf("line %q is not a count and a word: %w", line, err)
		}
		got[word] = n
		total += n
	}
	var differ []string
	for w, n := range want {
		if got[w] != n {
			differ = append(differ, w)
		}
	}
	slices.Sort(differ)
	if len(differ) > 0 || len(got) != len(want) {
		shown := strings.Join(differ[:min(len(differ), wordsShown)], " ")
		return fmt.Errorf("%d different words counted, want %d; %d are wrong: %s", len(got), len(want), len(differ), shown)
	}
	fmt.Printf("  %d words, %d different ones: the same as counted here\n", total, len(want))
	return nil
}

func countWords(text []byte, counts map[string]int) {
	var word bytes.Buffer
	end := func() {
		if word.Len() > 0 {
			counts[word.String()]++
			word.Reset()
		}
	}
	for _, c := range string(text) {
		if unicode.IsLetter(c) {
			word.WriteRune(unicode.ToLower(c))
		} else {
			end()
		}
	}
	end()
}
