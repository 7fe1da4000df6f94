// Command reduce adds up counts as wordcount prints them, from the files that it
// is given or its stdin: a number and a word in each line, most frequent first,
// then by alphabet. Where the counts of several tasks follow each other, the
// result is that of one task that had counted all.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reduce:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	sums := map[string]int{}
	if len(files) == 0 {
		if err := add(os.Stdin, "stdin", sums); err != nil {
			return err
		}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := add(f, name, sums); err != nil {
			return err
		}
	}
	out := bufio.NewWriter(os.Stdout)
	for _, word := range slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		return cmp.Or(cmp.Compare(sums[b], sums[a]), strings.Compare(a, b))
	}) {
		fmt.Fprintf(out, "%7d %s\n", sums[word], word)
	}
	return out.Flush()
}

func add(r io.Reader, name string, sums map[string]int) error {
	lines := bufio.NewScanner(r)
	for at := 1; lines.Scan(); at++ {
		number, word, ok := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			return fmt.Errorf("%s, line %d: %q is not a number and a word", name, at, lines.Text())
		}
		sums[word] += n
	}
	return lines.Err()
}
