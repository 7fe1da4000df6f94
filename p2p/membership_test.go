package p2p

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMembershipVerify(t *testing.T) {
	s := newScene(t)
	worker := s.workerKey.NodeID()
	impostor := signer{grid: s.grid, key: s.workerKey, admin: s.worker}
	limited := s.byGrid.member(s.adminKey.NodeID(), RoleAdmin, testTime, testTime.Add(time.Hour))
	byLimited := signer{grid: s.grid, key: s.adminKey, admin: limited}
	clientOfGrid := s.byGrid.member(s.adminKey.NodeID(), RoleClient, testTime, time.Time{})
	byClient := signer{grid: s.grid, key: s.adminKey, admin: clientOfGrid}
	forged := *s.worker
	forged.Role = RoleAdmin
	now := testTime.Add(2 * time.Hour)

	for _, c := range []struct {
		name     string
		m        *Membership
		now      time.Time
		expelled []Expulsion
		want     error
		says     string
	}{
		{name: "founder", m: s.founder},
		{name: "admin", m: s.admin},
		{name: "worker, by an admin", m: s.worker},
		{name: "clock a little late", m: s.worker, now: s.worker.Since.Add(-ClockSkewMax)},
		{name: "clock wrong", m: s.worker, now: s.worker.Since.Add(-ClockSkewMax - time.Second), want: ErrClock, says: "2026-11-01T12:54:59Z"},
		{name: "clock wrong, the other one", m: s.worker, now: s.worker.Since.Add(-ClockSkewMax - time.Second), want: ErrClock, says: "2026-11-01T13:00:00Z"},
		{name: "expired", m: s.byGrid.member(worker, RoleWorker, testTime, now.Add(-ClockSkewMax-time.Second)), want: ErrExpired},
		{name: "not expired", m: s.byGrid.member(worker, RoleWorker, testTime, now.Add(-ClockSkewMax)), want: nil},
		{name: "wrong grid", m: (&signer{grid: s.workerKey.GridID(), key: s.workerKey}).member(worker, RoleWorker, testTime, time.Time{}), want: ErrWrongGrid},
		{name: "changed", m: &forged, want: ErrSignature},
		{name: "own signature", m: (&signer{grid: s.grid, key: s.workerKey}).member(worker, RoleWorker, testTime, time.Time{}), want: ErrSignature},
		{name: "signed by a client", m: byClient.member(worker, RoleWorker, testTime, time.Time{}), want: ErrNotAdmin},
		{name: "third link", m: impostor.member(worker, RoleWorker, testTime, time.Time{}), want: ErrSignature},
		{name: "by an admin in its time", m: byLimited.member(worker, RoleWorker, testTime.Add(time.Minute), time.Time{})},
		{name: "by an admin after its time", m: byLimited.member(worker, RoleWorker, testTime.Add(61*time.Minute), time.Time{}), want: ErrNotAdmin},
		{name: "by an admin before its time", m: s.byAdmin.member(worker, RoleWorker, testTime.Add(-time.Hour), time.Time{}), want: ErrNotAdmin},
		{name: "expelled", m: s.worker, expelled: []Expulsion{s.byAdmin.expel(worker, now)}, want: ErrExpelled},
		{name: "admin expelled before", m: s.worker, expelled: []Expulsion{s.byGrid.expel(s.admin.Node, s.worker.Since)}, want: ErrExpelled},
		{name: "admin expelled after", m: s.worker, expelled: []Expulsion{s.byGrid.expel(s.admin.Node, s.worker.Since.Add(time.Second))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := c.now
			if at.IsZero() {
				at = now
			}
			list := NewExpulsions(s.grid)
			if _, err := list.Add(c.expelled, now); err != nil {
				t.Fatal(err)
			}
			err := c.m.Verify(s.grid, at, list)
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("error %v does not say %q", err, c.says)
			}
		})
	}
}

// Each sentinel stands for itself: no error of Verify is two of them.
func TestSentinelsAreDistinct(t *testing.T) {
	seen := map[error]Code{}
	for c := CodeMalformed; c < CodeOther; c++ {
		err := codeTable[c].err
		if other, twice := seen[err]; twice {
			t.Errorf("%s and %s are the same error", c, other)
		}
		seen[err] = c
		if CodeOf(err) != c || !errors.Is(&Refusal{Code: c}, err) {
			t.Errorf("%s does not come back", c)
		}
	}
}

func TestCodes(t *testing.T) {
	var b strings.Builder
	for c := CodeOK; c < codes; c++ {
		b.WriteString(strings.Join([]string{c.String(), c.Help()}, "\t") + "\n")
	}
	goldenText(t, "codes.txt", b.String())
	if CodeOf(errors.New("disk")) != CodeOther || Code(200).String() != "code_200" || Code(200).Help() != "" {
		t.Error("an unknown error or code is taken for a known one")
	}
}

func TestMembershipGolden(t *testing.T) {
	s := newScene(t)
	for name, m := range map[string]*Membership{"founder": s.founder, "worker": s.worker} {
		b := m.Encode()
		golden(t, "membership_"+name, b)
		back := must[*Membership](t)(DecodeMembership(b))
		if !reflect.DeepEqual(back, m) {
			t.Errorf("%s came back as %+v", name, back)
		}
		for cut := range b {
			if _, err := DecodeMembership(b[:cut]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
		}
		later := append([]byte{encodingVersion + 1}, b[1:]...)
		if _, err := DecodeMembership(later); !errors.Is(err, ErrVersion) {
			t.Errorf("later version: %v", err)
		}
		if _, err := DecodeMembership(append(b, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("trailing byte: %v", err)
		}
	}
}

func FuzzMembership(f *testing.F) {
	s := newScene(f)
	f.Add(s.founder.Encode())
	f.Add(s.worker.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMembership(b)
		if err != nil {
			return
		}
		back, err := DecodeMembership(m.Encode())
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v came back as %+v, %v", m, back, err)
		}
		valid := m.Verify(s.grid, testTime.Add(2*time.Hour), nil) == nil
		if valid && m.Signature != s.founder.Signature && m.Signature != s.worker.Signature {
			t.Fatalf("forged: %+v", m)
		}
	})
}
