package replica

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

func TestPlanVoters(t *testing.T) {
	const v, n = raft.Voter, raft.Nonvoter
	type server struct {
		id       string
		suffrage raft.ServerSuffrage
	}
	for _, test := range []struct {
		name    string
		servers []server
		members string
		health  map[string]health
		max     int
		want    voterPlan
	}{
		{"alone", []server{{"a", v}}, "a", nil, 5, voterPlan{}},
		{"two members are one voter", []server{{"a", v}}, "ab", map[string]health{"b": healthy}, 5, voterPlan{}},
		{"three members", []server{{"a", v}}, "abc", map[string]health{"b": healthy, "c": healthy}, 5, voterPlan{addServer, "b"}},
		{"not stable yet", []server{{"a", v}}, "abc", nil, 5, voterPlan{}},
		{"log arrives", []server{{"a", v}, {"b", n}}, "abc", map[string]health{"b": healthy}, 5, voterPlan{}},
		{"log is there", []server{{"a", v}, {"b", n}}, "abc", map[string]health{"b": caughtUp}, 5, voterPlan{promoteServer, "b"}},
		{"dead before it voted", []server{{"a", v}, {"b", n}}, "abc", map[string]health{"b": dead}, 5, voterPlan{removeServer, "b"}},
		{"enough", []server{{"a", v}, {"b", v}, {"c", v}}, "abcd", map[string]health{"b": healthy, "c": healthy, "d": healthy}, 5, voterPlan{}},
		{"at most", []server{{"a", v}, {"b", v}, {"c", v}}, "abcde", map[string]health{"d": healthy, "e": healthy}, 3, voterPlan{}},
		{"dead voter, a spare", []server{{"a", v}, {"b", v}, {"c", v}}, "abcd", map[string]health{"b": dead, "d": healthy}, 3, voterPlan{addServer, "d"}},
		{"dead voter, the spare is ready", []server{{"a", v}, {"b", v}, {"c", v}, {"d", n}}, "abcd", map[string]health{"b": dead, "d": caughtUp}, 3, voterPlan{promoteServer, "d"}},
		{"dead voter was replaced", []server{{"a", v}, {"b", v}, {"c", v}, {"d", v}}, "abcd", map[string]health{"b": dead}, 3, voterPlan{removeServer, "b"}},
		{"dead voter of three, no spare", []server{{"a", v}, {"b", v}, {"c", v}}, "abc", map[string]health{"b": dead}, 3, voterPlan{}},
		{"dead voters of five, no spare", []server{{"a", v}, {"b", v}, {"c", v}, {"d", v}, {"e", v}}, "abcde", map[string]health{"b": dead, "c": dead}, 5, voterPlan{removeServer, "b"}},
		{"voter has left", []server{{"a", v}, {"b", v}, {"c", v}}, "ab", nil, 5, voterPlan{removeServer, "c"}},
		{"two are left", []server{{"a", v}, {"b", v}}, "ab", map[string]health{"b": healthy}, 5, voterPlan{removeServer, "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var servers []raft.Server
			for _, s := range test.servers {
				servers = append(servers, raft.Server{ID: raft.ServerID(s.id), Suffrage: s.suffrage})
			}
			members := map[string]Member{}
			for _, id := range test.members {
				members[string(id)] = Member{ID: string(id)}
			}
			got := planVoters(servers, members, "a", test.max, func(id string) health {
				if id == "a" {
					return healthy
				}
				return test.health[id]
			})
			if got != test.want {
				t.Errorf("plan is %v %q, want %v %q", got.action, got.id, test.want.action, test.want.id)
			}
		})
	}
}

// TestTreeHasNoLoop lets members take and leave random parents by the rules.
func TestTreeHasNoLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const members = 8
		trees := make([]*tree, members)
		parent := map[int]int{}
		children := func(i int) map[string]*child { return trees[i].children }
		for i := range trees {
			trees[i] = &tree{children: map[string]*child{}}
		}
		trees[0].attach(0, "")
		settle := func() {
			for c, p := range parent {
				if children(p)[fmt.Sprint(c)] == nil {
					delete(parent, c)
					trees[c].detach()
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			c := rapid.IntRange(1, members-1).Draw(t, "child")
			if p, has := parent[c]; has {
				delete(children(p), fmt.Sprint(c))
				settle()
				continue
			}
			p := rapid.IntRange(0, members-1).Draw(t, "parent")
			if p == c {
				continue
			}
			depth, _, err := trees[p].adopt(&child{id: fmt.Sprint(c), c: &conn{Conn: nowhere{}}}, trees[c].depthLimit(), 2)
			if err != nil {
				trees[c].disown()
				settle()
				continue
			}
			trees[c].attach(depth+1, fmt.Sprint(p))
			parent[c] = p
			settle()
			for at, steps := c, 0; ; steps++ {
				next, has := parent[at]
				if !has {
					break
				}
				if trees[next].depth >= trees[at].depth || steps > members {
					t.Fatalf("member %d at depth %d has parent %d at depth %d", at, trees[at].depth, next, trees[next].depth)
				}
				at = next
			}
		}
	})
}

func TestCodesKeepTheirNumbers(t *testing.T) {
	want := []code{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	got := []code{
		codeOK, codeNotLeader, codeLost, codeOverloaded, codeStopped, codeClosed, codeTooOld, codeTooLarge,
		codeNotMember, codeFull, codeUnattached, codeBusy, codeVersion, codeOther, codeRefused, codeNoRoom,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for c, err := range codeErrors {
		if codeOf(fmt.Errorf("wrapped: %w", err)) != c {
			t.Errorf("%v has code %d, want %d", err, codeOf(err), c)
		}
		if !errors.Is(errorOf(c, err.Error()), err) {
			t.Errorf("code %d is %v, want %v", c, errorOf(c, ""), err)
		}
	}
}

// FuzzDecode feeds every decoder of what comes from disk or from other members.
func FuzzDecode(f *testing.F) {
	servers := []raft.Server{{ID: "a", Address: "b"}}
	f.Add(appendCommands(nil, [][]byte{{1}, {2, 3}}))
	f.Add(memberCommand{kind: memberPut, id: "a", address: "b"}.encode())
	f.Add(meta{index: 3, term: 2, servers: servers}.encode())
	f.Add(status{id: "a", applied: 1}.encode())
	f.Add(snapshotHeader{7, "x"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 {
			if commands, err := decodeCommands(b[1:]); err == nil && b[0] == entryCommands {
				again, err := decodeCommands(appendCommands(nil, commands)[1:])
				if err != nil || !cmp.Equal(commands, again) {
					t.Errorf("%x decodes to %x, then %x, %v", b, commands, again, err)
				}
			}
			if m, err := decodeMember(b[1:]); err == nil {
				if again, err := parseMember(m.encode()); err != nil || again != m {
					t.Errorf("%+v comes back as %+v, %v", m, again, err)
				}
			}
		}
		if m, err := decodeMeta(b); err == nil {
			if again, err := decodeMeta(m.encode()); err != nil || !cmp.Equal(m, again, cmp.AllowUnexported(meta{})) {
				t.Errorf("%+v comes back as %+v, %v", m, again, err)
			}
		}
		if r, err := parseRecord(b); err == nil {
			r.each(func(Change) bool { return true })
		}
		decodeHistory(b, "", 0)
		decodeServers(b)
		decodeStatus(b)
		parseHint(string(b))
		readSnapshotHeader(bytes.NewReader(b))
		readFrame(bytes.NewReader(b), frameBytesMax)
	})
}

// nowhere is a connection that can only be closed.
type nowhere struct{ net.Conn }

func (nowhere) Close() error { return nil }

// TestRaftDoesNotEndTheProcess damages what Raft panics about when it sees it:
// the replica is told, and Raft never gets an answer.
func TestRaftDoesNotEndTheProcess(t *testing.T) {
	damage := errors.New("damaged")
	for what, ask := range map[string]func(RaftLog) error{
		"term":  func(l RaftLog) error { return l.SetUint64(termKey, 7) },
		"entry": func(l RaftLog) error { return l.GetLog(1, &raft.Log{}) },
	} {
		started, ending, faults := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		config := &Config{HeartbeatTimeout: time.Second}
		g := guardedLog{
			damagedLog{raft.NewInmemStore(), damage},
			newStall(config, slog.New(slog.DiscardHandler), m, func() {}),
			func() (index, term uint64) { return 0, 0 }, new(cut),
			func(err error) { faults <- err }, started, ending,
		}
		if err := ask(g); !errors.Is(err, damage) {
			t.Errorf("%s before the start: %v", what, err)
		}
		close(started)
		returned, ended := false, make(chan struct{})
		go func() {
			defer close(ended)
			_ = ask(g)
			returned = true
		}()
		if err := <-faults; !errors.Is(err, damage) {
			t.Errorf("%s: the fault is %v", what, err)
		}
		close(ending)
		if <-ended; returned {
			t.Errorf("%s: Raft got an answer", what)
		}
	}
}

// damagedLog cannot read entries nor write numbers.
type damagedLog struct {
	*raft.InmemStore
	err error
}

func (d damagedLog) GetLog(uint64, *raft.Log) error     { return d.err }
func (d damagedLog) SetUint64(_ []byte, _ uint64) error { return d.err }
