package cli

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/dugnad/dugnad/node/certificate"
)

// benchNode is a node with its API on a port of loopback.
func benchNode(b *testing.B, flags ...string) (n *nodeProcess, url string, trust *tls.Config) {
	b.Helper()
	n = newMachine(b, "node").up(b, append(flags, "--api-listen", "127.0.0.1:0")...)
	out, _ := n.out.read()
	_, rest, _ := strings.Cut(out, "API at ")
	url, trust, err := certificate.Split(strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == '\n' })[0])
	if err != nil {
		b.Fatal(err)
	}
	return n, url, trust
}

// BenchmarkSurface is a small GET at a node's port, in each protocol, one request after
// another and 16 at a time. server-us/op is the processor time that the node takes for
// each, p50-us what the client waits.
func BenchmarkSurface(b *testing.B) {
	for _, secured := range []bool{false, true} {
		flags := []string{"--api-tls=" + strconv.FormatBool(secured)}
		n, url, trust := benchNode(b, flags...)
		for _, proto := range []string{"1.1", "2", "3"} {
			if proto == "3" && !secured {
				continue
			}
			name := map[bool]string{false: "cleartext", true: "TLS"}[secured] + "/HTTP-" + proto
			for _, concurrency := range []int{1, 16} {
				b.Run(name+"/at-once-"+strconv.Itoa(concurrency), func(b *testing.B) {
					getMany(b, n, url+"/v1/jobs", transportOf(b, proto, trust), concurrency)
				})
			}
		}
		n.stop(b)
	}
}

func transportOf(b *testing.B, proto string, trust *tls.Config) http.RoundTripper {
	b.Helper()
	if proto == "3" {
		t := &http3.Transport{TLSClientConfig: trust}
		b.Cleanup(func() { _ = t.Close() })
		return t
	}
	t := &http.Transport{TLSClientConfig: trust, Protocols: &http.Protocols{}, MaxIdleConnsPerHost: 64}
	t.Protocols.SetHTTP1(proto == "1.1")
	t.Protocols.SetHTTP2(proto == "2" && trust != nil)
	t.Protocols.SetUnencryptedHTTP2(proto == "2" && trust == nil)
	b.Cleanup(t.CloseIdleConnections)
	return t
}

func getOne(b *testing.B, c *http.Client, url string) {
	b.Helper()
	r, err := c.Get(url)
	if err != nil {
		b.Error(err)
		return
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil || r.StatusCode != http.StatusOK {
		b.Errorf("%s, %v", r.Status, err)
	}
}

func getMany(b *testing.B, n *nodeProcess, url string, t http.RoundTripper, concurrency int) {
	b.Helper()
	c := &http.Client{Transport: t}
	getOne(b, c, url)
	var mu sync.Mutex
	var times []time.Duration
	var wg sync.WaitGroup
	before, total := processorTime(b, n.cmd.Process.Pid), b.N
	b.ResetTimer()
	for i := range concurrency {
		wg.Go(func() {
			var own []time.Duration
			for range (total + i) / concurrency {
				begin := time.Now()
				getOne(b, c, url)
				own = append(own, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
		})
	}
	wg.Wait()
	b.StopTimer()
	spent := processorTime(b, n.cmd.Process.Pid) - before
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1000, "p50-us")
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(spent.Microseconds())/float64(total), "server-us/op")
}

// processorTime is what a process has taken, to the hundredth of a second.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	var ticks int64
	for _, f := range fields[12:14] { // utime and stime are the 14th and 15th of all
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkIdle opens 10,000 connections that ask for nothing, and tells what memory
// the node has before, with as many as it has places, and with all; then how long
// somebody else waits for an answer.
func BenchmarkIdle(b *testing.B) {
	n, url, trust := benchNode(b, "--api-tls")
	host := strings.TrimPrefix(url, "https://")
	trust.NextProtos = []string{"h2", "http/1.1"}
	for b.Loop() {
		var open []net.Conn
		report := func(unit string) { b.ReportMetric(float64(resident(b, n.cmd.Process.Pid))/(1<<20), unit) }
		report("MB-before")
		for i := range 10_000 {
			c, err := tls.Dial("tcp", host, trust)
			if err != nil {
				b.Fatal(err)
			}
			// A connection of HTTP/2 that has said hello, as a browser's.
			if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
				b.Fatal(err)
			}
			if open = append(open, c); i == 1000 {
				report("MB-1000")
			}
		}
		report("MB-10000")
		begin := time.Now()
		getOne(b, &http.Client{Transport: transportOf(b, "2", trust.Clone())}, url+"/v1/jobs")
		b.ReportMetric(float64(time.Since(begin).Microseconds())/1000, "ms-another")
		for _, c := range open {
			_ = c.Close()
		}
	}
	n.stop(b)
}

// resident is a process's memory in bytes.
func resident(b *testing.B, pid int) int64 {
	b.Helper()
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
