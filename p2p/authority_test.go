package p2p

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func testAuthority(t *testing.T, dir string, s signer, expelled *Expulsions) *Authority {
	t.Helper()
	a := must[*Authority](t)(openAuthority(dir, s, expelled, func() time.Time { return testTime }))
	t.Cleanup(func() { a.Close() })
	return a
}

func TestRedeemCounts(t *testing.T) {
	s := newScene(t)
	dir := t.TempDir()
	a := testAuthority(t, dir, s.byGrid, NewExpulsions(s.grid))
	v := must[*Invitation](t)(a.Invite(RoleWorker, testTime.Add(time.Hour), 2, nil))

	for _, n := range []byte{10, 11, 10} {
		m := must[*Membership](t)(a.Redeem(v, testKey(t, n).NodeID()))
		if err := m.Verify(s.grid, testTime, nil); err != nil || m.Role != RoleWorker {
			t.Fatalf("membership %+v: %v", m, err)
		}
	}
	if _, err := a.Redeem(v, testKey(t, 12).NodeID()); !errors.Is(err, ErrInvitationUsedUp) {
		t.Fatalf("third node: %v", err)
	}
	a.Close()
	if _, err := a.Redeem(v, testKey(t, 12).NodeID()); !errors.Is(err, ErrClosed) {
		t.Fatalf("after Close: %v", err)
	}

	a = testAuthority(t, dir, s.byGrid, NewExpulsions(s.grid))
	if _, err := a.Redeem(v, testKey(t, 12).NodeID()); !errors.Is(err, ErrInvitationUsedUp) {
		t.Fatalf("third node after a restart: %v", err)
	}
	if _, err := a.Redeem(v, testKey(t, 11).NodeID()); err != nil {
		t.Fatalf("second node again after a restart: %v", err)
	}
}

func TestRedeemAtOnce(t *testing.T) {
	s := newScene(t)
	a := testAuthority(t, t.TempDir(), s.byGrid, NewExpulsions(s.grid))
	v := must[*Invitation](t)(a.Invite(RoleWorker, testTime.Add(time.Hour), 3, nil))
	var mu sync.Mutex
	joined := 0
	var wg sync.WaitGroup
	for n := range byte(12) {
		node := testKey(t, 10+n).NodeID()
		wg.Go(func() {
			switch _, err := a.Redeem(v, node); {
			case err == nil:
				mu.Lock()
				joined++
				mu.Unlock()
			case !errors.Is(err, ErrInvitationUsedUp):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if joined != 3 {
		t.Fatalf("%d nodes joined", joined)
	}
}

func TestRedeemRefuses(t *testing.T) {
	s := newScene(t)
	list := NewExpulsions(s.grid)
	founder := testAuthority(t, t.TempDir(), s.byGrid, list)
	admin := testAuthority(t, t.TempDir(), s.byAdmin, list)
	node := testKey(t, 10).NodeID()

	v := must[*Invitation](t)(admin.Invite(RoleClient, testTime.Add(time.Hour), 1, nil))
	if _, err := founder.Redeem(v, node); !errors.Is(err, ErrInvitationUnknown) {
		t.Errorf("an admin's invitation at the founder: %v", err)
	}
	if _, err := admin.Redeem(must[*Invitation](t)(founder.Invite(RoleClient, testTime.Add(time.Hour), 1, nil)), node); !errors.Is(err, ErrInvitationUnknown) {
		t.Errorf("the founder's invitation at an admin: %v", err)
	}
	if _, err := list.Add([]Expulsion{must[Expulsion](t)(founder.Expel(node))}, testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Redeem(v, node); !errors.Is(err, ErrExpelled) {
		t.Errorf("an expelled node: %v", err)
	}
	if _, err := list.Add([]Expulsion{must[Expulsion](t)(founder.Expel(s.admin.Node))}, testTime); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Redeem(v, testKey(t, 11).NodeID()); !errors.Is(err, ErrExpelled) {
		t.Errorf("at an expelled admin: %v", err)
	}
	if _, err := admin.Expel(s.founderKey.NodeID()); !errors.Is(err, ErrExpelled) {
		t.Errorf("an expelled admin expels: %v", err)
	}
}

func TestInviteRefuses(t *testing.T) {
	s := newScene(t)
	admin := testAuthority(t, t.TempDir(), s.byAdmin, NewExpulsions(s.grid))
	hour := testTime.Add(time.Hour)
	for _, c := range []struct {
		name    string
		role    Role
		expires time.Time
		uses    int
		want    error
	}{
		{"admin by an admin", RoleAdmin, hour, 1, ErrNotAdmin},
		{"no role", 0, hour, 1, ErrMalformed},
		{"no use", RoleWorker, hour, 0, ErrFull},
		{"too many uses", RoleWorker, hour, UsesMax + 1, ErrFull},
		{"expired", RoleWorker, testTime, 1, ErrInvitationExpired},
		{"too long", RoleWorker, testTime.Add(InvitationLifeMax + time.Second), 1, ErrFull},
	} {
		if _, err := admin.Invite(c.role, c.expires, c.uses, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := OpenAdmin(t.TempDir(), s.workerKey, s.worker, nil); !errors.Is(err, ErrNotAdmin) {
		t.Errorf("a worker's authority: %v", err)
	}
}

func TestRedemptionsAfterCrash(t *testing.T) {
	records := func(n int, until time.Time) []byte {
		var b []byte
		for i := range n {
			b = append(b, encodeRedemption(redemption{InvitationID{1}, [32]byte{byte(i + 1)}, until})...)
		}
		return b
	}
	later := testTime.Add(time.Hour)
	whole := records(3, later)
	damaged := records(3, later)
	damaged[redemptionBytes+3] ^= 1
	last := records(3, later)
	last[len(last)-1] ^= 1
	for _, c := range []struct {
		name string
		file []byte
		uses int
		want error
	}{
		{"whole", whole, 3, nil},
		{"cut off", whole[:len(whole)-7], 2, nil},
		{"last record half written", last, 2, nil},
		{"damaged in the middle", damaged, 0, ErrMalformed},
		{"long ago", append(records(2, testTime.Add(-redemptionGrace-time.Second)), records(1, later)...), 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), redemptionsFile)
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := openRedemptions(path, testTime)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			defer l.close()
			if l.n != c.uses {
				t.Fatalf("%d uses, want %d", l.n, c.uses)
			}
			if err := l.add(redemption{InvitationID{2}, [32]byte{1}, later}, 1); err != nil {
				t.Fatal(err)
			}
			l.close()
			again := must[*redemptions](t)(openRedemptions(path, testTime))
			defer again.close()
			if again.n != c.uses+1 {
				t.Fatalf("%d uses after one more", again.n)
			}
		})
	}
}

func FuzzRedemption(f *testing.F) {
	f.Add(encodeRedemption(redemption{InvitationID{1}, [32]byte{2}, testTime}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decodeRedemption(b)
		if ok && string(encodeRedemption(r)) != string(b) {
			t.Fatalf("%+v is not what was written", r)
		}
	})
}
