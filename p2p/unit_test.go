package p2p

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

func testPeer(t testing.TB, n byte) peer.ID {
	t.Helper()
	return must[peer.ID](t)(testKey(t, n).NodeID().peer())
}

// TestRestarted: only a new session of a known member is a restart.
func TestRestarted(t *testing.T) {
	b, id, now := newBook(10), testPeer(t, 1), time.Now()
	session := func(n byte) [8]byte { return [8]byte{n} }
	if b.restarted(id, session(1)) {
		t.Error("a node that was never met has restarted")
	}
	if err := b.meet(id, RoleWorker, news{name: "n"}, now); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		session   [8]byte
		restarted bool
	}{{session(1), false}, {session(1), false}, {session(0), false}, {session(2), true}, {session(2), false}} {
		if got := b.restarted(id, step.session); got != step.restarted {
			t.Errorf("step %d: restarted is %t", i, got)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := Default()
	good.Dir = "data"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := Config{Name: strings.Repeat("x", NameBytesMax+1), Listen: []string{"localhost:80"}, Protocols: map[string]StreamLimit{"/x": {PerPeer: 2, Total: 1}}, Relay: true}
	err := bad.Validate()
	for _, says := range []string{"data directory", "name has 65", "localhost:80", "HandshakesMax is 0", "protocol /x: 2 of 1", "relay needs limits", "HandshakeTimeout"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}

func TestBookMakesRoom(t *testing.T) {
	b := newBook(3)
	now := testTime
	at := func(n byte) []ma.Multiaddr {
		return []ma.Multiaddr{ma.StringCast(fmt.Sprintf("/ip4/192.0.2.%d/tcp/1", n))}
	}
	meet := func(n byte, after time.Duration) error {
		return b.meet(testPeer(t, n), RoleWorker, news{name: "n"}, now.Add(after))
	}
	if !b.hear(testPeer(t, 1), at(1)) || b.hear(testPeer(t, 1), at(1)) || !b.hear(testPeer(t, 1), at(2)) {
		t.Error("what is new is not told from what is known")
	}
	for n := range byte(3) {
		if err := meet(2+n, time.Duration(n)*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.entries) != 3 || b.entries[testPeer(t, 1)] != nil {
		t.Error("a node that was only heard of was kept before a member")
	}
	b.entries[testPeer(t, 2)].addresses = at(2)
	if !b.hear(testPeer(t, 2), at(7)) || !ma.Contains(b.addresses(testPeer(t, 2)), at(2)[0]) || !ma.Contains(b.addresses(testPeer(t, 2)), at(7)[0]) {
		t.Error("a rumour displaced what a member says itself")
	}
	if b.hear(testPeer(t, 9), at(9)) {
		t.Error("a rumour displaced a member")
	}
	b.connected(testPeer(t, 2), 1, now)
	if err := meet(5, time.Hour); err != nil || b.entries[testPeer(t, 3)] != nil || b.entries[testPeer(t, 2)] == nil {
		t.Errorf("not the member that was away for longest has gone: %v", err)
	}
	b.connected(testPeer(t, 4), 1, now)
	b.connected(testPeer(t, 5), 1, now)
	if err := meet(6, time.Hour); !errors.Is(err, ErrFull) {
		t.Errorf("more connected members than there is room for: %v", err)
	}
}

func TestBookCandidates(t *testing.T) {
	b := newBook(16)
	now := testTime
	a := []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}
	for n := range byte(6) {
		b.hear(testPeer(t, n+1), a)
	}
	for n := range byte(3) {
		b.entries[testPeer(t, n+1)].role = RoleWorker
	}
	ids, _ := b.candidates(3, now)
	slices.Sort(ids)
	want := []peer.ID{testPeer(t, 1), testPeer(t, 2), testPeer(t, 3)}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("members do not come first: %v", ids)
	}
	for n := range byte(6) {
		b.failed(testPeer(t, n+1), now)
	}
	if ids, next := b.candidates(9, now); len(ids) != 0 || next.Before(now.Add(retryFirst*3/4)) || next.After(now.Add(retryFirst*5/4)) {
		t.Errorf("after failures: %v, next %v", ids, next)
	}
	for range 100 {
		b.failed(testPeer(t, 1), now)
	}
	if e := b.entries[testPeer(t, 1)]; e.retry.After(now.Add(retryMax * 5 / 4)) {
		t.Errorf("a lonely node waits until %v", e.retry)
	}
	b.retryNow()
	if ids, _ := b.candidates(9, now); len(ids) != 6 {
		t.Errorf("%d candidates at once", len(ids))
	}
	b.connected(testPeer(t, 1), 1, now)
	if ids, _ := b.candidates(9, now.Add(time.Hour)); len(ids) != 5 {
		t.Errorf("%d candidates, one of six is connected", len(ids))
	}
}

func TestBookIsWritten(t *testing.T) {
	b := newBook(16)
	id := testPeer(t, 1)
	a := ma.StringCast("/ip4/192.0.2.1/udp/4610/quic-v1")
	b.entries[id] = &entry{role: RoleWorker, name: "kari", seen: testTime, addresses: []ma.Multiaddr{a}, record: []byte("record")}
	golden(t, "members", b.encode())
	again := newBook(16)
	if err := again.decode(b.encode(), testTime); err != nil {
		t.Fatal(err)
	}
	got := again.members()
	if len(got) != 1 || got[0].Name != "kari" || got[0].Role != RoleWorker || got[0].Addresses[0] != a.String() || !got[0].Seen.Equal(testTime) {
		t.Errorf("read %+v", got)
	}
	if _, met := again.roleOf(id); met {
		t.Error("a role is believed that nobody has verified")
	}
	late := newBook(16)
	if err := late.decode(b.encode(), testTime.Add(bookKept+time.Second)); err != nil || len(late.entries) != 0 {
		t.Errorf("a member is remembered for too long: %v", err)
	}
	damaged := b.encode()
	damaged[10] ^= 1
	if err := newBook(16).decode(damaged, testTime); !errors.Is(err, ErrMalformed) {
		t.Errorf("damaged: %v", err)
	}
}

// What comes and goes while a listener is busy is not told, and never more than
// one notice per member waits.
func TestNotifierJoinsNotices(t *testing.T) {
	var n notifier
	told := make(chan notice)
	cancel := n.add(func(id NodeID, up bool) { told <- notice{id, up} })
	n.tell("a", true)
	first := <-told // the listener is in its next call, or waits
	if first != (notice{"a", true}) {
		t.Fatalf("told %+v", first)
	}
	n.tell("blocks", true)
	n.tell("b", true)
	n.tell("a", false)
	if got := <-told; got != (notice{"blocks", true}) {
		t.Fatalf("told %+v", got)
	}
	seen := map[notice]bool{<-told: true, <-told: true}
	if !seen[notice{"b", true}] || !seen[notice{"a", false}] {
		t.Fatalf("told %v", seen)
	}
	cancel()
	n.close()
	n.add(func(NodeID, bool) { t.Error("told after close") })()
}

func TestNoticesCancel(t *testing.T) {
	l := &listener{more: make(chan struct{}, 1)}
	for range 1000 {
		l.push(notice{"a", true})
		l.push(notice{"b", true})
		l.push(notice{"a", false})
		l.push(notice{"b", false})
	}
	l.push(notice{"c", true})
	if len(l.queue) != 1 || l.queue[0] != (notice{"c", true}) {
		t.Fatalf("%v wait", l.queue)
	}
}

func TestDeputiesAreBounded(t *testing.T) {
	d := newDeputies()
	for n := range deputiesMax {
		if err := d.add(peer.ID(fmt.Sprint(n)), testTime); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.add("more", testTime); !errors.Is(err, ErrBusy) {
		t.Fatalf("error %v", err)
	}
	if err := d.add("later", testTime.Add(2*deputyLifeMax+time.Second)); err != nil || d.has("1") {
		t.Fatalf("deputies that never came are not forgotten: %v", err)
	}
}

func TestDialBacksAreBounded(t *testing.T) {
	var d dialBacks
	if err := d.enter("a", testTime); err != nil {
		t.Fatal(err)
	}
	if err := d.enter("a", testTime); !errors.Is(err, ErrBusy) {
		t.Fatalf("twice at once: %v", err)
	}
	for n := range dialBacksMax - 1 {
		if err := d.enter(peer.ID(fmt.Sprint(n)), testTime); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.enter("b", testTime); !errors.Is(err, ErrBusy) {
		t.Fatalf("too many: %v", err)
	}
	d.leave()
	if err := d.enter("a", testTime.Add(dialBackPause+time.Second)); err != nil {
		t.Fatal(err)
	}
}

// Who is found on the local network cannot keep a node from joining by saying no.
func TestWhoseRefusalCounts(t *testing.T) {
	contact, stranger := testPeer(t, 1), testPeer(t, 2)
	h := &Host{cfg: Config{Invitation: &Invitation{Contacts: []Contact{{Node: idOf(contact)}}}}}
	for _, c := range []struct {
		from peer.ID
		err  error
		want bool
	}{
		{contact, &Refusal{Code: CodeInvitationExpired}, true},
		{contact, &Refusal{Code: CodeBusy}, false},
		{contact, ErrUnreachable, false},
		{stranger, &Refusal{Code: CodeInvitationExpired}, false},
		{stranger, &Refusal{Code: CodeInvitationUsedUp, Member: true}, true},
		{stranger, &Refusal{Code: CodeNoAuthority, Member: true}, false},
	} {
		if got := h.final(c.from, c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
