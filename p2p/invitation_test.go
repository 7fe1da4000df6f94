package p2p

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func testInvitation(t testing.TB, s *scene, by signer) *Invitation {
	t.Helper()
	return by.invite(Invitation{
		ID: InvitationID{1, 2, 3, 4, 5, 6, 7, 8}, Role: RoleWorker, Since: testTime.Add(time.Hour), Until: testTime.Add(25 * time.Hour), Uses: 3,
		Contacts: []Contact{{Node: s.adminKey.NodeID(), Addresses: []string{"/ip4/192.0.2.17/udp/4610/quic-v1"}}},
	})
}

func TestInvitationText(t *testing.T) {
	s := newScene(t)
	for name, v := range map[string]*Invitation{"grid": testInvitation(t, s, s.byGrid), "admin": testInvitation(t, s, s.byAdmin)} {
		text := must[string](t)(v.Text())
		goldenText(t, "invitation_"+name+".txt", text+"\n")
		golden(t, "invitation_"+name, v.Encode())
		t.Logf("%s: %d characters", name, len(text))
		if name == "grid" && len(text) > 300 {
			t.Errorf("%d characters", len(text))
		}
		wrapped := "  " + strings.ToUpper(text[:70]) + "\r\n\t" + text[70:] + "\n"
		for _, copied := range []string{text, wrapped} {
			back := must[*Invitation](t)(ParseInvitation(copied))
			if !reflect.DeepEqual(back, v) {
				t.Errorf("%s came back as %+v", name, back)
			}
		}
		for i := range text {
			wrong := []byte(text)
			wrong[i]++
			if _, err := ParseInvitation(string(wrong)); !errors.Is(err, ErrInvitationTypo) {
				t.Fatalf("typo at %d: %v", i, err)
			}
			if _, err := ParseInvitation(text[:i]); !errors.Is(err, ErrInvitationTypo) {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
		shown := must[*Invitation](t)(DecodeInvitation(v.Encode()))
		if err := shown.Verify(s.grid, testTime.Add(2*time.Hour), nil); err != nil {
			t.Errorf("the part that is shown: %v", err)
		}
	}
}

func TestInvitationVerify(t *testing.T) {
	s := newScene(t)
	good := testInvitation(t, s, s.byAdmin)
	now := testTime.Add(2 * time.Hour)
	forged := *good
	forged.Uses = 100
	byClient := signer{grid: s.grid, key: s.adminKey, admin: s.byGrid.member(s.adminKey.NodeID(), RoleClient, testTime, time.Time{})}
	other := signer{grid: s.workerKey.GridID(), key: s.workerKey}
	out := NewExpulsions(s.grid)
	if _, err := out.Add([]Expulsion{s.byGrid.expel(s.admin.Node, testTime)}, now); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		v        *Invitation
		now      time.Time
		expelled *Expulsions
		want     error
	}{
		{"good", good, now, nil, nil},
		{"expired", good, good.Until.Add(time.Second), nil, ErrInvitationExpired},
		{"from the future", good, good.Since.Add(-time.Hour), nil, ErrClock},
		{"changed", &forged, now, nil, ErrSignature},
		{"by a client", testInvitation(t, s, byClient), now, nil, ErrNotAdmin},
		{"wrong grid", testInvitation(t, s, other), now, nil, ErrWrongGrid},
		{"admin expelled", good, now, out, ErrExpelled},
	} {
		err := c.v.Verify(s.grid, c.now, c.expelled)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzInvitation(f *testing.F) {
	s := newScene(f)
	f.Add(testInvitation(f, s, s.byGrid).Encode())
	f.Add(testInvitation(f, s, s.byAdmin).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := DecodeInvitation(b)
		if err != nil {
			return
		}
		back, err := DecodeInvitation(v.Encode())
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Fatalf("%+v came back as %+v, %v", v, back, err)
		}
	})
}

// The fuzzer does not find checksums, so it is given them.
func FuzzInvitationText(f *testing.F) {
	s := newScene(f)
	for _, by := range []signer{s.byGrid, s.byAdmin} {
		b, err := textEncoding.DecodeString(must[string](f)(testInvitation(f, s, by).Text())[len(invitationPrefix):])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:len(b)-checksumBytes])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := invitationPrefix + textEncoding.EncodeToString(append(b[:len(b):len(b)], checksum(b)...))
		v, err := ParseInvitation(text)
		if err != nil {
			return
		}
		again := must[string](t)(v.Text())
		if back := must[*Invitation](t)(ParseInvitation(again)); !reflect.DeepEqual(back, v) {
			t.Fatalf("%+v came back as %+v", v, back)
		}
	})
}
