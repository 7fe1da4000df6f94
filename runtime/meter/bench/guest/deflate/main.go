// Command deflate is a Go program to measure: it packs and unpacks a text that
// it makes, with the compressor of Go's standard library, and prints a checksum.
package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
)

const textBytes = 512 << 10

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "deflate:", err)
		os.Exit(1)
	}
}

func run() error {
	var text strings.Builder
	seed := uint32(1)
	for text.Len() < textBytes {
		seed = seed*1664525 + 1013904223
		fmt.Fprintf(&text, "node %d placed task %x of job %d; ", seed>>20, seed>>12, seed>>26)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	size := packed.Len()
	back, err := io.ReadAll(flate.NewReader(&packed))
	if err != nil {
		return err
	}
	if string(back) != text.String() {
		return fmt.Errorf("unpacked text of %d bytes differs from the original of %d", len(back), text.Len())
	}
	_, err = fmt.Printf("%d bytes to %d, checksum %08x\n", len(back), size, crc32.ChecksumIEEE(back))
	return err
}
