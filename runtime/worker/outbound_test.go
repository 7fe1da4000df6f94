package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dugnad/dugnad/runtime/abi"
	"github.com/dugnad/dugnad/runtime/task"
)

// world is an Outbound of a function.
type world func(ctx context.Context, head []byte, body io.ReadCloser) (Response, error)

func (w world) Do(ctx context.Context, head []byte, body io.ReadCloser) (Response, error) {
	return w(ctx, head, body)
}

func answer(text string) Response {
	return Response{Head: []byte("200\n"), Body: io.NopCloser(strings.NewReader(text))}
}

// fails is a reader with an error.
type fails struct{ err error }

func (f fails) Read([]byte) (int, error) { return 0, f.err }

func outboundSpec() task.Spec { return task.Spec{HTTP: &task.HTTP{}} }

// TestOutbound is a table of answers, and what the guest makes of them.
func TestOutbound(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	img := testImage(t, cache, "fetch")
	big := strings.Repeat("0123456789abcdef", 1<<16) // 16 windows
	tests := []struct {
		name, stdin, want string
		exit              abi.Code
		do                world
	}{
		{"answer", "GET http://a/\n", "200\n\nbody of 14 GET http://a/\n", 0, func(_ context.Context, head []byte, _ io.ReadCloser) (Response, error) {
			return answer(fmt.Sprintf("body of %d %s", len(head), head)), nil
		}},
		{"nothing", "GET http://a/", "200\n\n", 0, func(context.Context, []byte, io.ReadCloser) (Response, error) { return answer(""), nil }},
		{"large answer", "GET http://a/", "200\n\n" + big, 0, func(context.Context, []byte, io.ReadCloser) (Response, error) { return answer(big), nil }},
		{"body comes back", "POST http://a/\n\n" + big[:100_000], "200\n\n" + big[:100_000], 0, func(_ context.Context, _ []byte, body io.ReadCloser) (Response, error) {
			return Response{Head: []byte("200\n"), Body: body}, nil
		}},
		{"body that nobody reads", "POST http://a/\n\n" + big[:900_000], "200\n\nno", 0, func(_ context.Context, _ []byte, body io.ReadCloser) (Response, error) {
			return answer("no"), body.Close()
		}},
		{"code", "GET http://a/", "", abi.ErrAddress, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{}, fmt.Errorf("wrapped: %w", abi.ErrAddress)
		}},
		{"code while a body is sent", "POST http://a/\n\n" + big[:900_000], "", abi.ErrBytes, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{}, abi.ErrBytes
		}},
		{"other error", "GET http://a/", "", abi.ErrBroken, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{}, errors.New("no such thing")
		}},
		{"number that is no code", "GET http://a/", "", abi.ErrBroken, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{}, abi.Code(-1000)
		}},
		{"broken body", "GET http://a/", "200\n\nhalf", abi.ErrBytes, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{Head: []byte("200\n"), Body: io.NopCloser(io.MultiReader(strings.NewReader("half"), fails{abi.ErrBytes}))}, nil
		}},
		{"long head", "GET http://a/", "", abi.ErrHead, func(context.Context, []byte, io.ReadCloser) (Response, error) {
			return Response{Head: make([]byte, abi.HTTPHeadBytesMax+1), Body: io.NopCloser(fails{io.EOF})}, nil
		}},
		{"not allowed", "GET http://a/", "", abi.ErrDenied, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			s := Streams{Stdin: strings.NewReader(tt.stdin), Stdout: &out}
			if tt.do != nil {
				s.Outbound = tt.do
			}
			o := w.Run(context.Background(), img, outboundSpec(), s)
			if wantKind(t, o, task.Exited); o.ExitCode != uint32(-tt.exit) {
				t.Errorf("exit code %d, want %d", o.ExitCode, -tt.exit)
			}
			if out.String() != tt.want {
				t.Errorf("%d bytes of output, want %d: %.80q", out.Len(), len(tt.want), out.String())
			}
			if head, _, _ := strings.Cut(tt.stdin, "\n\n"); o.Usage.EgressBytes < uint64(len(head)) {
				t.Errorf("%d bytes counted", o.Usage.EgressBytes)
			}
			if tt.name == "large answer" && o.Usage.EgressBytes != uint64(len("GET http://a/")+len("200\n")+len(big)) {
				t.Errorf("%d bytes counted", o.Usage.EgressBytes)
			}
		})
	}
}

// TestOutboundNotAsked: a module that could ask for the world is refused unless its
// job does.
func TestOutboundNotAsked(t *testing.T) {
	cache := openTestCache(t, nil)
	o := openTestWorker(t, cache, nil).Run(context.Background(), testImage(t, cache, "fetch"), task.Spec{}, Streams{})
	wantKind(t, o, task.Refused)
	if !strings.Contains(o.Message, "dugnad_v1.http_open") || !strings.Contains(o.Message, "capabilities: [http]") {
		t.Error(o.Message)
	}
}

// TestOutboundHoard: a guest cannot have more requests than it may, and what it leaves
// open ends with it.
func TestOutboundHoard(t *testing.T) {
	cache := openTestCache(t, nil)
	w := openTestWorker(t, cache, nil)
	var open, most atomic.Int32
	o := w.Run(context.Background(), testImage(t, cache, "hoard"), outboundSpec(), Streams{
		Stdin: strings.NewReader("GET http://a/"),
		Outbound: world(func(ctx context.Context, _ []byte, _ io.ReadCloser) (Response, error) {
			most.Store(max(most.Load(), open.Add(1)))
			defer open.Add(-1)
			<-ctx.Done()
			return Response{}, ctx.Err()
		}),
	})
	if wantKind(t, o, task.Exited); o.ExitCode != uint32(-abi.ErrOpen) {
		t.Errorf("exit code %d, want %d", o.ExitCode, -abi.ErrOpen)
	}
	if len(o.LimitsHit) != 1 || o.LimitsHit[0].Name != "http-requests" {
		t.Errorf("limits %v", o.LimitsHit)
	}
	if open.Load() != 0 || most.Load() > abi.HTTPOpenMax {
		t.Errorf("%d requests are left, %d were open at a time", open.Load(), most.Load())
	}
}

// TestOutboundEnds: a request that waits ends with its task, by cancellation and by
// the death of the worker, and does not outlive it.
func TestOutboundEnds(t *testing.T) {
	cache := openTestCache(t, nil)
	img := testImage(t, cache, "fetch")
	for _, tt := range []struct {
		name string
		end  func(w *Worker, cancel func())
		kind task.Kind
	}{
		{"cancelled", func(_ *Worker, cancel func()) { cancel() }, task.Cancelled},
		{"worker killed", func(w *Worker, _ func()) { w.process.kill() }, task.WorkerLost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := openTestWorker(t, cache, nil)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			waiting, ended := make(chan struct{}), atomic.Bool{}
			r := runInBackground(ctx, w, img, outboundSpec(), Streams{
				Stdin: strings.NewReader("GET http://a/"),
				Outbound: world(func(ctx context.Context, _ []byte, _ io.ReadCloser) (Response, error) {
					close(waiting)
					<-ctx.Done()
					ended.Store(true)
					return Response{}, ctx.Err()
				}),
			})
			wait(t, waiting, "the request")
			tt.end(w, cancel)
			wait(t, r.ended, "the end of the task")
			if wantKind(t, r.outcome, tt.kind); !ended.Load() {
				t.Error("the request outlives its task")
			}
		})
	}
}

// TestOutboundAdopted: the parent is killed while a request is under way. The guest is
// told that it is broken; the next one is the next parent's, which knows of both bytes.
func TestOutboundAdopted(t *testing.T) {
	p := startParent(t, parentOrder{Series: [][]parentTask{{{Guest: "again", Key: "a", HTTP: true}}}})
	p.await("request GET http://a/")
	p.kill()
	a, _ := p.adopted()
	var out bytes.Buffer
	var heads []string
	o, ok := a.Run(t.Context(), Task{Key: "a", Spec: outboundSpec(), Streams: Streams{
		Stdin: strings.NewReader("x"), Stdout: &out,
		Outbound: world(func(_ context.Context, head []byte, _ io.ReadCloser) (Response, error) {
			heads = append(heads, string(head))
			return answer("well"), nil
		}),
	}})
	if !ok {
		t.Fatalf("the task is not there: %q", a.Keys())
	}
	wantKind(t, o, task.Exited)
	if want := string(rune('A'-abi.ErrBroken)) + "well"; o.ExitCode != 0 || out.String() != want || !slices.Equal(heads, []string{"GET http://a/"}) {
		t.Errorf("exit code %d, output %q, want %q; requests %q", o.ExitCode, out.String(), want, heads)
	}
	if want := uint64(2*len("GET http://a/") + len("200\n") + len("well")); o.Usage.EgressBytes != want {
		t.Errorf("%d bytes are counted, want %d", o.Usage.EgressBytes, want)
	}
}

// FuzzOutboundFrames: whatever a child sends about requests, the parent keeps its
// limits.
func FuzzOutboundFrames(f *testing.F) {
	script := func(steps ...any) (b []byte) {
		for i := 0; i < len(steps); i += 3 {
			payload := steps[i+2].(string)
			b = append(b, byte(steps[i].(frameType)), byte(steps[i+1].(int)), byte(len(payload)))
			b = append(b, payload...)
		}
		return b
	}
	f.Add(script(frameHTTPOpen, 1, "GET http://a/", frameHTTPBody, 1, "abc", frameHTTPBodyEnd, 1, "", frameHTTPClose, 1, ""))
	f.Add(script(frameHTTPOpen, 1, "", frameHTTPOpen, 1, ""))
	f.Add(script(frameHTTPOpen, 1, "", frameHTTPCredit, 1, "\x01\x00\x00\x00"))
	f.Add(script(frameHTTPClose, 9, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &Worker{process: &process{out: &sender{}}}
		r := &run{worker: w, done: make(chan struct{}), limits: task.Default()}
		r.outbound.init(r, world(func(ctx context.Context, _ []byte, body io.ReadCloser) (Response, error) {
			return Response{Head: []byte("200\n"), Body: body}, nil
		}))
		for len(b) >= 3 {
			n := min(int(b[2]), len(b)-3)
			payload := binary.LittleEndian.AppendUint32(nil, uint32(b[1]))
			err := r.outbound.handle(frame{kind: frameType(b[0]), payload: append(payload, b[3:3+n]...)})
			b = b[3+n:]
			r.outbound.mu.Lock()
			if len(r.outbound.open) > abi.HTTPOpenMax {
				t.Errorf("%d requests are open", len(r.outbound.open))
			}
			for _, x := range r.outbound.open {
				if len(x.body) > httpWindowBytes {
					t.Errorf("%d bytes of a body wait", len(x.body))
				}
			}
			r.outbound.mu.Unlock()
			if err != nil {
				if !errors.Is(err, ErrProtocol) {
					t.Error(err)
				}
				break
			}
		}
		r.end()
		if r.outbound.wait(); len(r.outbound.open) != 0 {
			t.Error("requests are left")
		}
	})
}

// FuzzOutboundAnswers: whatever a parent sends about requests, the child does not panic
// and keeps no more than a window.
func FuzzOutboundAnswers(f *testing.F) {
	f.Add([]byte{byte(frameHTTPHead), 1, 3, 'a', 'b', 'c', byte(frameHTTPData), 1, 1, 'x', byte(frameHTTPEnd), 1, 4, 0, 0, 0, 0})
	f.Add([]byte{byte(frameHTTPEnd), 1, 4, 0xff, 0xff, 0xff, 0xff, byte(frameHTTPDone), 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o := newChildOutbound(&sender{}, 1)
		e, err := o.Open(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		x := e.(*childRequest)
		for len(b) >= 3 {
			n := min(int(b[2]), len(b)-3)
			payload := binary.LittleEndian.AppendUint32(nil, uint32(b[1]))
			err := o.handle(frame{kind: frameType(b[0]), payload: append(payload, b[3:3+n]...)})
			b = b[3+n:]
			if len(x.buffer) > httpWindowBytes || x.credit > 2*httpWindowBytes {
				t.Errorf("%d bytes wait, credit is %d", len(x.buffer), x.credit)
			}
			if err != nil && !errors.Is(err, ErrProtocol) {
				t.Error(err)
			}
			if err != nil {
				break
			}
		}
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_, _ = x.Head(done)
		_, _ = x.Read(done, make([]byte, 10))
		_ = x.Write(done, []byte("x"))
		x.Close()
	})
}
