package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// waitMax bounds whatever a test waits for. No test depends on it.
const waitMax = 2 * time.Minute

// testParty returns what a member of the scene brings to a hello.
func testParty(s *scene, m *Membership, expelled *Expulsions) *party {
	return &party{
		grid: s.grid, self: m.Node, name: "node of " + m.Role.String(),
		now:        func() time.Time { return testTime.Add(2 * time.Hour) },
		membership: func() *Membership { return m },
		news: func() news {
			return news{name: "node of " + m.Role.String(), record: []byte("record of " + m.Role.String())}
		},
		verify: func(other *Membership, now time.Time) error { return other.Verify(s.grid, now, expelled) },
		redeem: func(context.Context, *Invitation, NodeID) (*Membership, error) {
			return nil, ErrInvitationUnknown
		},
	}
}

type helloResult struct {
	dialled, accepted      *greeting
	dialError, acceptError error
}

// meet lets two parties speak the hello.
func meet(t *testing.T, dialler, listener *party, diallerID, listenerID NodeID) (r helloResult) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	a.SetDeadline(time.Now().Add(waitMax))
	b.SetDeadline(time.Now().Add(waitMax))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.accepted, r.acceptError = acceptHello(t.Context(), b, diallerID, listener)
	}()
	r.dialled, r.dialError = dialHello(t.Context(), a, listenerID, dialler)
	a.Close()
	<-done
	return r
}

func TestHelloBetweenMembers(t *testing.T) {
	s := newScene(t)
	r := meet(t, testParty(s, s.worker, nil), testParty(s, s.founder, nil), s.worker.Node, s.founder.Node)
	if r.dialError != nil || r.acceptError != nil {
		t.Fatal(r.dialError, r.acceptError)
	}
	if g := r.accepted; g.membership.Role != RoleWorker || g.news.name != "node of worker" || string(g.news.record) != "record of worker" || g.deputy {
		t.Errorf("the listener heard %+v", g)
	}
	if g := r.dialled; g.membership.Role != RoleAdmin || g.news.name != "node of admin" || string(g.news.record) != "record of admin" || g.own != nil {
		t.Errorf("the dialler heard %+v", g)
	}
}

func TestHelloJoins(t *testing.T) {
	s := newScene(t)
	a := testAuthority(t, t.TempDir(), s.byGrid, NewExpulsions(s.grid))
	key := testKey(t, 10)
	joiner := testParty(s, &Membership{Node: key.NodeID()}, nil)
	joiner.membership = func() *Membership { return nil }
	joiner.invitation = must[*Invitation](t)(a.Invite(RoleWorker, testTime.Add(3*time.Hour), 1, nil))
	founder := testParty(s, s.founder, nil)
	founder.redeem = func(_ context.Context, v *Invitation, node NodeID) (*Membership, error) { return a.Redeem(v, node) }

	r := meet(t, joiner, founder, key.NodeID(), s.founder.Node)
	if r.dialError != nil || r.acceptError != nil {
		t.Fatal(r.dialError, r.acceptError)
	}
	if own := r.dialled.own; own == nil || own.Node != key.NodeID() || own.Role != RoleWorker || r.accepted.membership.Node != key.NodeID() {
		t.Fatalf("joined as %+v", own)
	}
	if string(r.dialled.news.record) != "record of admin" {
		t.Errorf("heard %+v", r.dialled.news)
	}
}

func TestHelloOfDeputy(t *testing.T) {
	s := newScene(t)
	deputy := testKey(t, 10)
	dialler := testParty(s, s.worker, nil)
	signature := signDeputy(s.workerKey, deputy.public())
	dialler.deputy = &signature
	r := meet(t, dialler, testParty(s, s.founder, nil), deputy.NodeID(), s.founder.Node)
	if r.dialError != nil || r.acceptError != nil {
		t.Fatal(r.dialError, r.acceptError)
	}
	if g := r.accepted; !g.deputy || g.membership.Node != s.worker.Node {
		t.Errorf("the listener heard %+v", g)
	}
	if len(r.dialled.news.record) != 0 {
		t.Error("a deputy is told what only members are")
	}
	// The same statement does not speak for another key.
	r = meet(t, dialler, testParty(s, s.founder, nil), testKey(t, 11).NodeID(), s.founder.Node)
	if !errors.Is(r.dialError, ErrSignature) || !errors.Is(r.acceptError, ErrSignature) {
		t.Errorf("another key: %v, %v", r.dialError, r.acceptError)
	}
}

// Every refusal reaches the other side with its code, whichever side refuses.
func TestHelloRefusals(t *testing.T) {
	s := newScene(t)
	list := NewExpulsions(s.grid)
	if _, err := list.Add([]Expulsion{s.byGrid.expel(s.worker.Node, testTime.Add(time.Hour))}, testTime.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	other := Found(testKey(t, 20), s.founderKey, testTime)
	otherGrid := testParty(s, other, nil)
	otherGrid.grid = other.Grid
	otherGrid.verify = func(m *Membership, now time.Time) error { return m.Verify(other.Grid, now, nil) }
	early := testParty(s, s.worker, nil)
	early.now = func() time.Time { return testTime.Add(-24 * time.Hour) }
	none := testParty(s, s.founder, nil)
	none.membership = func() *Membership { return nil }
	joiner := func() *party {
		p := testParty(s, &Membership{Node: s.worker.Node}, nil)
		p.membership = func() *Membership { return nil }
		p.invitation = testInvitation(t, s, s.byGrid)
		return p
	}
	redeemer := func(err error) *party {
		p := testParty(s, s.founder, nil)
		p.redeem = func(context.Context, *Invitation, NodeID) (*Membership, error) { return nil, err }
		return p
	}
	member, founder := testParty(s, s.worker, nil), testParty(s, s.founder, nil)
	strict := testParty(s, s.founder, list)
	strictWorker := testParty(s, s.founder, list)
	thief := testParty(s, s.founder, nil)
	thief.self = s.worker.Node
	byClient := signer{grid: s.grid, key: s.adminKey, admin: s.byGrid.member(s.adminKey.NodeID(), RoleClient, testTime, time.Time{})}
	noAdmin := testParty(s, byClient.member(s.worker.Node, RoleWorker, testTime, time.Time{}), nil)
	expired := testParty(s, s.byGrid.member(s.worker.Node, RoleWorker, testTime, testTime.Add(time.Hour)), nil)
	forged := *s.worker
	forged.Role = RoleAdmin

	for _, c := range []struct {
		name              string
		dialler, listener *party
		want              Code
		says              []string
	}{
		{"wrong grid", member, otherGrid, CodeWrongGrid, nil},
		{"wrong grid, joining", joiner(), otherGrid, CodeWrongGrid, nil},
		{"expelled dialler", member, strict, CodeExpelled, nil},
		{"expelled listener", strictWorker, member, CodeExpelled, nil},
		{"forged", testParty(s, &forged, nil), founder, CodeSignature, nil},
		{"forged listener", founder, testParty(s, &forged, nil), CodeSignature, nil},
		{"signed by no admin", noAdmin, founder, CodeNotAdmin, nil},
		{"expired", expired, founder, CodeExpired, nil},
		{"the listener's clock", member, early, CodeClock, []string{"2026-10-31T12:00:00Z", "2026-11-01T14:00:00Z"}},
		{"the dialler's clock", early, founder, CodeClock, []string{"2026-10-31T12:00:00Z", "2026-11-01T14:00:00Z"}},
		{"somebody else's membership", thief, founder, CodeNoMembership, nil},
		{"listener without membership", member, none, CodeNoMembership, nil},
		{"invitation expired", joiner(), redeemer(ErrInvitationExpired), CodeInvitationExpired, nil},
		{"invitation used up", joiner(), redeemer(ErrInvitationUsedUp), CodeInvitationUsedUp, nil},
		{"invitation unknown", joiner(), redeemer(ErrInvitationUnknown), CodeInvitationUnknown, nil},
		{"no authority", joiner(), redeemer(ErrNoAuthority), CodeNoAuthority, nil},
		{"busy", joiner(), redeemer(ErrBusy), CodeBusy, nil},
		{"disk of the authority", joiner(), redeemer(errors.New("disk /secret is full")), CodeOther, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			listenerID := s.founder.Node
			if c.listener == member || c.listener.membership() != nil && c.listener.membership().Node == s.worker.Node {
				listenerID = s.worker.Node
			}
			if c.listener == early {
				listenerID = s.worker.Node
			}
			diallerID := c.dialler.self
			r := meet(t, c.dialler, c.listener, diallerID, listenerID)
			if CodeOf(r.dialError) != c.want || CodeOf(r.acceptError) != c.want {
				t.Fatalf("want %s at both sides; dialler: %v; listener: %v", c.want, r.dialError, r.acceptError)
			}
			var refusal *Refusal
			told := r.dialError
			if !errors.As(told, &refusal) {
				told = r.acceptError
			}
			if !errors.As(told, &refusal) {
				t.Fatalf("nobody was told: %v, %v", r.dialError, r.acceptError)
			}
			for _, says := range c.says {
				if !strings.Contains(told.Error(), says) {
					t.Errorf("%v does not say %s", told, says)
				}
			}
			if strings.Contains(refusal.Text, "secret") {
				t.Errorf("told too much: %s", refusal.Text)
			}
		})
	}
}

// record returns what a dialling worker writes.
func helloBytes(t testing.TB, s *scene) []byte {
	var b bytes.Buffer
	p := testParty(s, s.worker, nil)
	_, err := dialHello(context.Background(), &canned{out: &b, in: bytes.NewReader(helloAnswer(s))}, s.founder.Node, p)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func helloAnswer(s *scene) []byte {
	p := testParty(s, s.founder, nil)
	b := appendNews(appendBytes(appendAnswer(p.now()), s.founder.Encode()), p.news())
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// canned is a stream whose other side was written before.
type canned struct {
	out io.Writer
	in  io.Reader
}

func (c *canned) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *canned) Write(b []byte) (int, error) { return c.out.Write(b) }
func (c *canned) SetDeadline(time.Time) error { return nil }

func TestHelloGolden(t *testing.T) {
	s := newScene(t)
	golden(t, "hello_member", helloBytes(t, s))
	golden(t, "hello_answer", helloAnswer(s))
	var b bytes.Buffer
	err := refuse(&b, testTime, ErrExpelled)
	if !errors.Is(err, ErrExpelled) {
		t.Fatal(err)
	}
	golden(t, "hello_refusal", b.Bytes())
}

func TestHelloFromStrangers(t *testing.T) {
	s := newScene(t)
	whole := helloBytes(t, s)
	accept := func(in []byte) (told []byte, err error) {
		var out bytes.Buffer
		_, err = acceptHello(t.Context(), &canned{out: &out, in: bytes.NewReader(in)}, s.worker.Node, testParty(s, s.founder, nil))
		return out.Bytes(), err
	}
	if _, err := accept(whole); err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if _, err := accept(whole[:cut]); !errors.Is(err, errBroken) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	for _, claim := range []uint32{helloBytesMax + 1, 1 << 31, 1<<32 - 1} {
		told, err := accept(append(binary.BigEndian.AppendUint32(nil, claim), whole[4:]...))
		if !errors.Is(err, ErrMalformed) || len(told) == 0 || Code(told[5]) != CodeMalformed {
			t.Fatalf("a claim of %d bytes: %v, told %x", claim, err, told)
		}
	}
	if _, err := accept([]byte("\x13/multistream/1.0.0\n")); !errors.Is(err, ErrMalformed) {
		t.Errorf("another protocol: %v", err)
	}
	if told, err := accept([]byte{0, 0, 0, 2, encodingVersion + 1, 1}); !errors.Is(err, ErrVersion) || Code(told[5]) != CodeVersion {
		t.Errorf("a later version: %v, told %x", err, told)
	}
	// A later version's refusal is understood.
	frame := []byte{0, 0, 0, 4, encodingVersion + 1, byte(CodeVersion), 0, 'v'}
	_, err := dialHello(t.Context(), &canned{out: io.Discard, in: bytes.NewReader(frame)}, s.founder.Node, testParty(s, s.worker, nil))
	if !errors.Is(err, ErrVersion) {
		t.Errorf("refused by a later version: %v", err)
	}
}

func TestHelloIsNotWaitedForLongerThanTheDeadline(t *testing.T) {
	s := newScene(t)
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	b.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := acceptHello(t.Context(), b, s.worker.Node, testParty(s, s.founder, nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("silence: %v", err)
	}
	go a.Write([]byte{0, 0, 0, 200, 1})
	b.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := acceptHello(t.Context(), b, s.worker.Node, testParty(s, s.founder, nil)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("half a frame: %v", err)
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"kjell's laptop": "kjell's laptop", "\x1b[2Jboo": "?[2Jboo", "æøå": "æøå", "a\xffb": "a?b", "line\nline": "line?line", strings.Repeat("å", 40): strings.Repeat("å", 32),
	} {
		if got := plain(in, 64); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzHelloAccept(f *testing.F) {
	s := newScene(f)
	f.Add(helloBytes(f, s))
	f.Add([]byte{0, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := acceptHello(t.Context(), &canned{out: io.Discard, in: bytes.NewReader(b)}, s.worker.Node, testParty(s, s.founder, nil))
		if err == nil && g.membership.Signature != s.worker.Signature {
			t.Fatalf("forged: %+v", g.membership)
		}
	})
}

func FuzzHelloDial(f *testing.F) {
	s := newScene(f)
	f.Add(helloAnswer(s))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := dialHello(t.Context(), &canned{out: io.Discard, in: bytes.NewReader(b)}, s.founder.Node, testParty(s, s.worker, nil))
		if err == nil && g.membership.Signature != s.founder.Signature {
			t.Fatalf("forged: %+v", g.membership)
		}
	})
}
