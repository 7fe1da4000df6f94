package p2p

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// loopbackConfig returns a configuration without what looks beyond this machine.
func loopbackConfig(dir string) Config {
	cfg := Default()
	cfg.Dir = dir
	cfg.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"}
	cfg.AllowLoopback = true
	cfg.MDNS, cfg.PortMap = false, false
	return cfg
}

func testConfig(t testing.TB, dir string) Config {
	cfg := loopbackConfig(dir)
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	t.Cleanup(cancel)
	return ctx
}

func openHost(t testing.TB, cfg Config) *Host {
	t.Helper()
	h := must[*Host](t)(Open(testContext(t), cfg))
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// founder opens the first node of a new grid.
func founder(t testing.TB, change ...func(*Config)) *Host {
	t.Helper()
	dir := t.TempDir()
	must[Key](t)(FoundGrid(dir))
	cfg := testConfig(t, dir)
	cfg.Name = "founder"
	for _, f := range change {
		f(&cfg)
	}
	return openHost(t, cfg)
}

func invite(t testing.TB, h *Host, role Role, uses int) *Invitation {
	t.Helper()
	v := must[*Invitation](t)(h.Authority().Invite(role, time.Now().Add(time.Hour), uses, []Contact{h.Contact()}))
	return must[*Invitation](t)(ParseInvitation(must[string](t)(v.Text())))
}

// join opens a new node that joins h's grid.
func join(t testing.TB, h *Host, role Role, change ...func(*Config)) *Host {
	t.Helper()
	cfg := testConfig(t, t.TempDir())
	cfg.Invitation = invite(t, h, role, 1)
	cfg.Name = role.String()
	for _, f := range change {
		f(&cfg)
	}
	return openHost(t, cfg)
}

// eventually waits until the host's members or expulsions make ok true. It asks
// after every notification, and now and then.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(waitMax)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func connectedTo(h, other *Host) func() bool {
	return func() bool { return slices.Contains(h.Connected(), other.Self()) }
}

const testProtocol = "/test/echo/1"

// echo answers every stream with what it reads.
func echo(s Stream) {
	if _, err := io.Copy(s, s); err == nil {
		s.Close()
	}
}

// ask opens a stream, writes, and reads the echo.
func askEcho(t testing.TB, from *Host, to NodeID, text string) {
	t.Helper()
	s := must[Stream](t)(from.Open(testContext(t), to, testProtocol))
	defer s.Close()
	s.SetDeadline(time.Now().Add(waitMax))
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := must[[]byte](t)(io.ReadAll(s)); string(got) != text {
		t.Fatalf("echo is %q, want %q", got, text)
	}
}

func TestJoinByInvitation(t *testing.T) {
	for _, transport := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"} {
		t.Run(transport, func(t *testing.T) {
			first := founder(t, func(c *Config) { c.Listen = []string{transport} })
			first.Handle(testProtocol, echo)
			started := time.Now()
			second := join(t, first, RoleWorker, func(c *Config) { c.Listen = []string{transport} })
			t.Logf("member %v after Open was called", time.Since(started))
			askEcho(t, second, first.Self(), "hello")
			t.Logf("first answer after %v", time.Since(started))

			if role, ok := first.RoleOf(second.Self()); !ok || role != RoleWorker {
				t.Errorf("the founder takes it for %v, %v", role, ok)
			}
			if role, ok := second.RoleOf(first.Self()); !ok || role != RoleAdmin {
				t.Errorf("it takes the founder for %v, %v", role, ok)
			}
			if got := first.Connected(); !slices.Equal(got, []NodeID{second.Self()}) {
				t.Errorf("the founder is connected with %v", got)
			}
			members := first.Members()
			if len(members) != 1 || members[0].Name != "worker" || !members[0].Connected {
				t.Errorf("the founder knows %+v", members)
			}
			second.Handle(testProtocol, echo)
			askEcho(t, first, second.Self(), "and back")
		})
	}
}

// TestKilledAfterJoining: whoever has joined knows on disk how to find the grid.
func TestKilledAfterJoining(t *testing.T) {
	first := founder(t)
	h := join(t, first, RoleWorker)
	again := newBook(h.cfg.MembersMax)
	if err := again.load(filepath.Join(h.cfg.Dir, bookFile), time.Now(), h.log); err != nil || len(again.members()) != 1 {
		t.Errorf("%d members, %v", len(again.members()), err)
	}
}

// A node that has joined needs no invitation, and finds its way back, after a
// restart; so does its founder.
func TestRestart(t *testing.T) {
	first := founder(t)
	cfg := testConfig(t, t.TempDir())
	cfg.Invitation = invite(t, first, RoleWorker, 1)
	second := openHost(t, cfg)
	self := second.Self()
	eventually(t, "connected", connectedTo(first, second))
	// Its record has to have come before it can be remembered.
	eventually(t, "address known", func() bool { return len(second.Members()) == 1 && len(second.Members()[0].Addresses) > 0 })
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Invitation = nil
	again := openHost(t, cfg)
	if again.Self() != self {
		t.Fatal("it is another node")
	}
	eventually(t, "connected again", connectedTo(again, first))
}

// A member that nobody can be reached from any more, because all have moved while it
// was away, finds the others by an invitation, which it does not use up.
func TestMoved(t *testing.T) {
	var ours Config
	first := founder(t, func(c *Config) { ours = *c })
	cfg := testConfig(t, t.TempDir())
	cfg.Invitation = invite(t, first, RoleWorker, 1)
	second := openHost(t, cfg)
	self := second.Self()
	eventually(t, "connected", connectedTo(first, second))
	if err := errors.Join(second.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	first = openHost(t, ours)
	word := invite(t, first, RoleWorker, 1)
	cfg.Invitation = word
	second = openHost(t, cfg)
	if second.Self() != self {
		t.Fatal("it is another node")
	}
	eventually(t, "connected again", connectedTo(first, second))
	cfg = testConfig(t, t.TempDir())
	cfg.Invitation = word
	third := openHost(t, cfg)
	eventually(t, "the invitation is good for another", connectedTo(first, third))
}

func TestJoinRefused(t *testing.T) {
	first := founder(t)
	other := founder(t)
	used := invite(t, first, RoleWorker, 1)
	cfg := testConfig(t, t.TempDir())
	cfg.Invitation = used
	openHost(t, cfg)

	forged := *invite(t, first, RoleWorker, 1)
	forged.Role = RoleAdmin
	moved := *invite(t, first, RoleWorker, 1)
	moved.Contacts = []Contact{other.Contact()}
	expired := invite(t, first, RoleWorker, 1)

	for _, c := range []struct {
		name string
		v    *Invitation
		want error
	}{
		{"used up", used, ErrInvitationUsedUp},
		{"changed", &forged, ErrSignature},
		{"another grid's contact", &moved, ErrWrongGrid},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t, t.TempDir())
			cfg.Invitation = c.v
			h, err := Open(testContext(t), cfg)
			if err == nil {
				h.Close()
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		v := *expired
		v.Contacts = []Contact{{Node: first.Self(), Addresses: []string{"/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1"}}}
		cfg := testConfig(t, t.TempDir())
		cfg.Invitation = &v
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := Open(ctx, cfg); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("nothing at hand", func(t *testing.T) {
		if _, err := Open(testContext(t), testConfig(t, t.TempDir())); !errors.Is(err, ErrNoMembership) {
			t.Fatalf("error %v", err)
		}
	})
	t.Run("directory of another grid", func(t *testing.T) {
		cfg := testConfig(t, t.TempDir())
		cfg.Invitation = invite(t, first, RoleWorker, 1)
		h := openHost(t, cfg)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		cfg.Invitation = invite(t, other, RoleWorker, 1)
		if _, err := Open(testContext(t), cfg); !errors.Is(err, ErrWrongGrid) {
			t.Fatalf("error %v", err)
		}
	})
}

// An invitation may be shown to any member; it is redeemed by who signed it.
func TestJoinThroughAnotherMember(t *testing.T) {
	first := founder(t)
	worker := join(t, first, RoleWorker)
	v := invite(t, first, RoleClient, 1)
	v.Contacts = []Contact{worker.Contact()}
	cfg := testConfig(t, t.TempDir())
	cfg.Invitation = v
	third := openHost(t, cfg)
	if third.Membership().Role != RoleClient {
		t.Fatalf("joined as %v", third.Membership().Role)
	}
	// Members are told of one another.
	eventually(t, "the founder is found", connectedTo(third, first))
}

func TestNotify(t *testing.T) {
	first := founder(t)
	notices := make(chan notice, 16)
	cancel := first.Notify(func(id NodeID, up bool) { notices <- notice{id, up} })
	second := join(t, first, RoleWorker)
	want := func(n notice) {
		t.Helper()
		select {
		case got := <-notices:
			if got != n {
				t.Fatalf("told %+v, want %+v", got, n)
			}
		case <-time.After(waitMax):
			t.Fatalf("not told %+v", n)
		}
	}
	want(notice{second.Self(), true})
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	want(notice{second.Self(), false})
	cancel()
	cancel()
}

func TestCloseIsIdempotent(t *testing.T) {
	first := founder(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Open(testContext(t), testKey(t, 1).NodeID(), testProtocol); err == nil {
		t.Fatal("a closed host opened a stream")
	}
}

// quicOnly has a host listen on QUIC alone.
func quicOnly(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"} }

// TestNobodyListens: a dial to a member that is gone ends when its machine says so,
// long before QUIC would give up; what anybody can pretend of one that answers has no
// effect.
func TestNobodyListens(t *testing.T) {
	a := founder(t, quicOnly)
	b := join(t, a, RoleWorker, quicOnly)
	eventually(t, "connection", connectedTo(a, b))
	b.Handle(testProtocol, echo)
	for _, c := range a.swarm.ConnsToPeer(b.self) {
		at, ok := quicAddress(c.RemoteMultiaddr())
		if !ok {
			t.Fatalf("%s is no address of QUIC", c.RemoteMultiaddr())
		}
		a.refusals.hear(at)
		if ctx := testContext(t); !answers(ctx, c) {
			t.Error("does not answer")
		}
		a.endIfGone(c)
		if c.IsClosed() {
			t.Error("connection was closed, although the member answers")
		}
	}
	askEcho(t, a, b.Self(), "still there")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "goodbye", func() bool { return !connectedTo(a, b)() })
	_, err := a.Open(testContext(t), b.Self(), testProtocol)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want refused", err)
	}
}
