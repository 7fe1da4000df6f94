package rpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dugnad/dugnad/p2p"
)

// TestHostileCallee answers two calls, 1 and 2, and a watch, 3, with frames that
// there should not be.
func TestHostileCallee(t *testing.T) {
	part := make([]byte, FrameBytesMax)
	ahead := raw{}.frame(kindMessage, 3, long(1+2*WindowBytes, 1)...)
	for range 2 * WindowBytes / FrameBytesMax {
		ahead = ahead.frame(kindMore, 3, part...)
	}
	for name, test := range map[string]struct {
		sent raw
		// want are the errors of the three.
		want [3]error
		text string
	}{
		"Garbage":         {raw(strings.Repeat("HTTP/1.1 200 OK\r\n", 10)), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "frame of"},
		"FourGiBFrame":    {raw{0xff, 0xff, 0xff, 0xff, byte(kindAnswer), 1, 0, 0, 0, 0, 0, 0, 0}, [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, ""},
		"FourGiBAnswer":   {raw{}.frame(kindAnswer, 1, long(1<<32-1, 1, 2)...).frame(kindMore, 1, 3), [3]error{ErrResponseTooLarge, nil, nil}, ""},
		"FourGiBMessage":  {raw{}.frame(kindMessage, 3, long(1<<32-1)...), [3]error{nil, nil, ErrResponseTooLarge}, ""},
		"IdNeverMade":     {raw{}.frame(kindAnswer, 4, long(0)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "not made"},
		"IdZero":          {raw{}.frame(kindEnd, 0, 9, 0), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "not made"},
		"KindOfCaller":    {raw{}.frame(kindCancel, 1), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "from who is called"},
		"AnswerTwice":     {raw{}.frame(kindAnswer, 1, long(2, 1)...).frame(kindAnswer, 1, long(2, 1)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "out of turn"},
		"MoreFirst":       {raw{}.frame(kindMore, 1, 1), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "not begun"},
		"MoreThanClaimed": {raw{}.frame(kindAnswer, 1, long(1, 1, 2)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "lacks"},
		"NoProgress":      {raw{}.frame(kindAnswer, 1, long(5)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "lacks"},
		"LengthShort":     {raw{}.frame(kindAnswer, 1, 1, 2), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "length of"},
		"EndOfCall":       {raw{}.frame(kindEnd, 1, 0, 0), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "without an answer"},
		"MessageOfCall":   {raw{}.frame(kindMessage, 1, long(0)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "out of turn"},
		"AnswerOfWatch":   {raw{}.frame(kindAnswer, 3, long(0)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "out of turn"},
		"EndInMessage":    {raw{}.frame(kindMessage, 3, long(9, 1)...).frame(kindEnd, 3, 0, 0), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "without an answer"},
		"AheadOfReader":   {append(ahead, ahead...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "ahead"},
		"LocalCode":       {raw{}.frame(kindEnd, 1, byte(CodeUnavailable), 0), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "does not cross"},
		"FailureTooLong":  {raw{}.frame(kindEnd, 1, make([]byte, failureBytesMax+1)...), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "at most"},
		"Goodbye":         {raw{}.frame(kindGoodbye, 0, byte(CodeProtocol), 0, 'x'), [3]error{ErrProtocol, ErrProtocol, ErrProtocol}, "the other side says"},
		"CodeOfTheFuture": {raw{}.frame(kindEnd, 1, 200, 0, 'x'), [3]error{&Error{}, nil, nil}, "code_200: x"},
	} {
		t.Run(name, func(t *testing.T) {
			siege(t, func(t *testing.T, v *victim) {
				answered := v.hostile
				answered.Handle(Protocol, func(s p2p.Stream) {
					io.ReadFull(s, make([]byte, 3*(headerBytes+requestHeadBytesMax-MethodBytesMax+5)))
					s.Write(test.sent)
					io.Copy(io.Discard, s)
				})
				got := threeCalls(t, v)
				for i, want := range test.want {
					switch err := got[i]; {
					case want == nil && err == nil:
					case want == nil || err == nil || !strings.Contains(err.Error(), test.text):
						t.Errorf("call %d: %v, want %v with %q", i+1, err, want, test.text)
					case errors.Is(want, ErrProtocol) && !errors.Is(err, ErrProtocol),
						errors.Is(want, ErrResponseTooLarge) && !errors.Is(err, ErrResponseTooLarge):
						t.Errorf("call %d: %v, want %v", i+1, err, want)
					}
				}
			})
		})
	}
}

// threeCalls makes two calls and a watch, and returns what each failed with as
// soon as nothing moves any more, nil when it has not.
func threeCalls(t *testing.T, v *victim) (got [3]error) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e := v.endpoint
	errs := make([]chan error, 3)
	for i := range errs {
		errs[i] = make(chan error, 1)
	}
	for i := range 2 {
		go func() {
			_, err := e.Call(ctx, "h", "other", nil)
			errs[i] <- err
		}()
		synctest.Wait()
	}
	w, err := e.Watch(ctx, "h", "watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	synctest.Wait()
	go func() {
		<-w.call.finished
		errs[2] <- w.call.err
	}()
	synctest.Wait()
	for i := range errs {
		select {
		case got[i] = <-errs[i]:
		default:
		}
	}
	return got
}

// TestTooMuchAtOnce begins more answers than may be under way.
func TestTooMuchAtOnce(t *testing.T) {
	siege(t, func(t *testing.T, v *victim) {
		v.hostile.Handle(Protocol, func(s p2p.Stream) {
			for i := range uint64(3) {
				io.ReadFull(s, make([]byte, headerBytes+requestHeadBytesMax-MethodBytesMax+5))
				s.Write(raw{}.frame(kindAnswer, 1+i, long(BytesMax, 1)...))
				for range BytesMax/FrameBytesMax - 1 {
					s.Write(raw{}.frame(kindMore, 1+i, make([]byte, FrameBytesMax)...))
				}
			}
			io.Copy(io.Discard, s)
		})
		errs := make(chan error, 3)
		for range 3 {
			go func() {
				_, err := v.endpoint.Call(t.Context(), "h", "other", nil)
				errs <- err
			}()
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "under way") {
				t.Errorf("got %v", err)
			}
		}
	})
}
