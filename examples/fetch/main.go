// Command fetch prints what is at a URL: a guest that makes an HTTP request. It has to
// be allowed: dugnad run --allow-http fetch.wasm -- https://example.org/
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: fetch URL")
		os.Exit(2)
	}
	for _, url := range os.Args[1:] {
		if err := fetch(url); err != nil {
			fmt.Fprintf(os.Stderr, "fetch %s: %v\n", url, err)
			os.Exit(1)
		}
	}
}

// fetch prints the body of the answer.
func fetch(url string) error {
	r, err := open("GET " + url + "\n")
	if err != nil {
		return err
	}
	defer r.close()
	head, err := r.head()
	if err != nil {
		return err
	}
	status, _, _ := strings.Cut(head, "\n")
	fmt.Fprintln(os.Stderr, "status", status)
	if _, err := io.Copy(os.Stdout, r); err != nil {
		return err
	}
	if !strings.HasPrefix(status, "2") {
		return errors.New("the answer is no success")
	}
	return nil
}
