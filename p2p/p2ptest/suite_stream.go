package p2ptest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/dugnad/dugnad/p2p"
)

func testHalfClose(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	sent := pattern(100_000, 1)
	wrote := make(chan error, 1)
	go func() {
		_, err := near.Write(sent)
		wrote <- errors.Join(err, near.CloseWrite())
	}()
	got, err := io.ReadAll(far)
	if err = errors.Join(err, receive(t, wrote)); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("read %d bytes of %d: %v", len(got), len(sent), err)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("a write after CloseWrite was taken")
	}
	write(t, far, []byte("after the end of the other direction"))
	read(t, near, []byte("after the end of the other direction"))
	closeWrite(t, far)
	if n, err := near.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read after CloseWrite: %d, %v, want EOF", n, err)
	}
}

func closeWrite(t *testing.T, s p2p.Stream) {
	t.Helper()
	if err := s.CloseWrite(); err != nil {
		t.Errorf("close write: %v", err)
	}
}

func testCloseDelivers(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	sent := pattern(20_000, 2)
	write(t, near, sent)
	if err := near.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := near.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("a write after Close was taken")
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("read %d bytes of %d: %v", len(got), len(sent), err)
	}
}

func testReset(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	blocked := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		blocked <- err
	}()
	if err := near.Reset(); err != nil {
		t.Errorf("reset: %v", err)
	}
	if err := receive(t, blocked); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read that was waiting at a reset: %v", err)
	}
	if err := failure(t, far); err == nil {
		t.Error("the other side of a reset read an orderly end")
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("a write after Reset was taken")
	}
	for {
		if _, err := far.Write(make([]byte, 1<<10)); err != nil {
			if timedOut(err) {
				t.Errorf("write at the other side of a reset: %v", err)
			}
			break
		}
	}
}

func testPastDeadline(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	near.SetDeadline(time.Unix(1, 0))
	if n, err := near.Read(make([]byte, 1)); n != 0 || !timedOut(err) {
		t.Errorf("read past the deadline: %d, %v", n, err)
	}
	if n, err := near.Write(make([]byte, 1)); n != 0 || !timedOut(err) {
		t.Errorf("write past the deadline: %d, %v", n, err)
	}
	near.SetDeadline(time.Time{})
	write(t, near, []byte("in time"))
	read(t, far, []byte("in time"))
	write(t, far, []byte("back"))
	read(t, near, []byte("back"))
}

func testDeadlineWakes(t *testing.T, a, b p2p.Network) {
	near, far := pairUp(t, a, b)
	for _, at := range []func() time.Time{
		func() time.Time { return time.Now().Add(shortly) },
		func() time.Time { return time.Unix(1, 0) },
	} {
		near.SetDeadline(time.Time{})
		done := make(chan error, 2)
		go func() {
			_, err := near.Read(make([]byte, 1))
			done <- err
		}()
		go func() {
			var err error
			for err == nil {
				_, err = near.Write(make([]byte, 64<<10))
			}
			done <- err
		}()
		near.SetDeadline(at())
		for range 2 {
			if err := receive(t, done); !timedOut(err) {
				t.Errorf("call that was waiting at its deadline: %v", err)
			}
		}
	}
	near.SetReadDeadline(time.Time{})
	write(t, far, []byte("later"))
	read(t, near, []byte("later"))
}

func testCloseWakes(t *testing.T, a, b p2p.Network) {
	near, _ := pairUp(t, a, b)
	near.SetDeadline(time.Time{})
	done := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		done <- err
	}()
	near.Close()
	if err := receive(t, done); err == nil {
		t.Error("a read that was waiting ended well at Close")
	}
}

// testBackPressure fills a stream that nobody reads, sees that others go on
// meanwhile, and that all arrives when somebody reads.
func testBackPressure(t *testing.T, a, b p2p.Network) {
	const heldMax = 256 << 20
	near, far := pairUp(t, a, b)
	chunk := pattern(64<<10, 3)
	sum, blocked := 0, false
	for !blocked && sum < heldMax {
		near.SetWriteDeadline(time.Now().Add(5 * shortly))
		n, err := near.Write(chunk[sum%len(chunk):])
		sum += n
		if err != nil && !timedOut(err) {
			t.Fatalf("write: %v", err)
		}
		blocked = err != nil
	}
	if !blocked {
		t.Fatalf("%d bytes were taken that nobody reads", sum)
	}
	t.Logf("%d bytes under way", sum)
	b.Handle(suiteProtocol, echo)
	other := dial(t, a, b)
	write(t, other, chunk)
	read(t, other, chunk)

	closeWrite(t, near)
	got, err := io.ReadAll(far)
	if err != nil || len(got) != sum {
		t.Fatalf("read %d bytes of %d: %v", len(got), sum, err)
	}
	for at := 0; at < len(got); at += len(chunk) {
		part := got[at:min(at+len(chunk), len(got))]
		if !bytes.Equal(part, chunk[:len(part)]) {
			t.Fatalf("bytes from %d on are not what was written", at)
		}
	}
}

func testOneAfterAnother(t *testing.T, a, b p2p.Network) {
	const count = 1000
	b.Handle(suiteProtocol, echo)
	t.Cleanup(func() { b.Handle(suiteProtocol, nil) })
	for i := range count {
		if err := roundTrip(t, a, b, pattern(200, uint32(i))); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
}

// testParallel has both members echo streams of the other at the same time. All
// together are less than what QUIC lets a new connection have unread: echo does not
// read while it writes, see p2p.Network.
func testParallel(t *testing.T, a, b p2p.Network) {
	for _, to := range []p2p.Network{a, b} {
		to.Handle(suiteProtocol, echo)
		t.Cleanup(func() { to.Handle(suiteProtocol, nil) })
	}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			from, to := a, b
			if i%2 == 1 {
				from, to = b, a
			}
			if err := roundTrip(t, from, to, pattern(16_000+i, uint32(i))); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	all.Wait()
}

// roundTrip opens a stream, has the data echoed, and closes it.
func roundTrip(t *testing.T, from, to p2p.Network, data []byte) error {
	s, err := from.Open(t.Context(), to.Self(), suiteProtocol)
	if err != nil {
		return err
	}
	defer reset(t, s)
	s.SetDeadline(time.Now().Add(waitMax))
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write(data)
		wrote <- errors.Join(err, s.CloseWrite())
	}()
	got, err := io.ReadAll(s)
	if err = errors.Join(err, <-wrote); err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("%d bytes came back, not the %d that were sent", len(got), len(data))
	}
	return s.Close()
}
