//go:build !wasip1

package main

import (
	"errors"
	"io"
)

// request is none: this program is for Dugnad.
type request struct{ io.Reader }

func open(string) (request, error) {
	return request{}, errors.New("build it with GOOS=wasip1 GOARCH=wasm, and run it with dugnad run --allow-http")
}

func (request) head() (string, error) { return "", errors.ErrUnsupported }

func (request) close() {}
