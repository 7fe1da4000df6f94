package outbound

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// ownFields are the fields of a head that belong to the connection, or to whoever
// makes the request: guests must not set them, and are not told them.
var ownFields = []string{
	"connection", "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
	"te", "trailer", "transfer-encoding", "upgrade",
}

// bodiless are the methods whose requests have a body only with a content-length.
var bodiless = []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodDelete}

const (
	methodBytesMax = 32
	agent          = "dugnad"
)

// parsed is the head of a request, checked.
type parsed struct {
	method string
	url    *url.URL
	host   string
	port   uint16
	fields http.Header
	// length is that of the body; -1 is not known.
	length int64
}

// badRequest says what is wrong with a head, without repeating it: it may hold secrets.
func badRequest(what string) error { return fmt.Errorf("%w: %s", abi.ErrRequest, what) }

// parse reads the head of a request, as abi/ABI.md has it. The error is an
// abi.ErrRequest.
func parse(head []byte) (*parsed, error) {
	if len(head) > abi.HTTPHeadBytesMax {
		return nil, badRequest("it is too long")
	}
	first, rest, _ := strings.Cut(string(head), "\n")
	method, target, _ := strings.Cut(first, " ")
	if !token(method) || len(method) > methodBytesMax || method == http.MethodConnect || method == http.MethodTrace {
		return nil, badRequest("the method is none that guests may use")
	}
	p := &parsed{method: method, fields: http.Header{}}
	if err := p.target(target); err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(rest, "\n"), "\n") {
		if line == "" && rest == "" {
			break
		}
		if err := p.field(line); err != nil {
			return nil, err
		}
	}
	if _, ok := p.fields["User-Agent"]; !ok {
		p.fields.Set("User-Agent", agent)
	}
	return p, p.body()
}

// target reads the URL.
func (p *parsed) target(target string) error {
	if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return badRequest("the URL holds what is not printable ASCII")
	}
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return badRequest("the URL cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return badRequest("the scheme is neither http nor https")
	case u.User != nil:
		return badRequest("the URL has a user")
	case u.Opaque != "" || !task.ValidHost(u.Hostname()):
		return badRequest("the URL has no host, or one that is not in ASCII")
	}
	u.Fragment, u.RawFragment = "", ""
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return badRequest("the port is not from 1 to 65535")
	}
	p.url, p.host, p.port = u, strings.ToLower(u.Hostname()), uint16(n)
	u.Host = net.JoinHostPort(p.host, strconv.FormatUint(n, 10))
	return nil
}

// field reads one line.
func (p *parsed) field(line string) error {
	name, value, ok := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	switch {
	case !ok || !token(name):
		return badRequest("a line is no field")
	case slices.Contains(ownFields, strings.ToLower(name)):
		return badRequest("a field belongs to the connection")
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return badRequest("a field holds control characters")
	}
	p.fields.Add(name, value)
	return nil
}

// body finds out how long the body is.
func (p *parsed) body() error {
	lengths := p.fields.Values("Content-Length")
	p.fields.Del("Content-Length")
	switch {
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil {
			return badRequest("content-length is no number")
		}
		p.length = int64(n)
	case len(lengths) > 1:
		return badRequest("there is more than one content-length")
	case !slices.Contains(bodiless, p.method):
		p.length = -1
	}
	return nil
}

// token reports whether a text is a token of HTTP.
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// encode writes the head of an answer, as abi/ABI.md has it. The error is abi.ErrHead.
func encode(status int, fields http.Header) ([]byte, error) {
	var lines []string
	size := 0
	for name, values := range fields {
		name = strings.ToLower(name)
		if slices.Contains(ownFields, name) {
			continue
		}
		for _, v := range values {
			// HTTP/2 lets more through than a line may hold.
			v = strings.Map(func(r rune) rune {
				if r == '\n' || r == '\r' || r == 0 {
					return ' '
				}
				return r
			}, v)
			lines = append(lines, name+": "+v+"\n")
			size += len(name) + len(v) + 3
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		nameA, _, _ := strings.Cut(a, ":")
		nameB, _, _ := strings.Cut(b, ":")
		return strings.Compare(nameA, nameB)
	})
	head := fmt.Sprintf("%d\n", status)
	if size+len(head) > abi.HTTPHeadBytesMax {
		return nil, abi.ErrHead
	}
	return []byte(head + strings.Join(lines, "")), nil
}
