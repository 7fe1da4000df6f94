package httpd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/dugnad/dugnad/ledger"
)

// The limits of browsers' sessions.
const (
	// sessionsMax bounds the sessions of a node, those that nobody has begun with them, of
	// which one tenant may have sessionsTenantMax.
	sessionsMax       = 4096
	sessionsTenantMax = 64
	// sessionLife bounds a session, codeLife the time until it has to begin.
	sessionLife = 12 * time.Hour
	codeLife    = time.Minute
	// secretBytes is the length of a code, and of what a session is known by.
	secretBytes = 32
)

var (
	// errSessionsFull is returned when a node, or a tenant, has as many sessions as it may.
	errSessionsFull = errors.New("there are too many sessions")
	// errCode is returned for a code that this node has not given, or that was used, or
	// is over.
	errCode = errors.New("the code is not good here: it was used, is over, or is another node's")
	// errSession is returned for what names no session of this node.
	errSession = errors.New("the session is over")
)

// secret is a code, or what a session is known by. Only its hash is kept.
type secret [secretBytes]byte

func newSecret() (s secret) {
	_, _ = rand.Read(s[:]) // It never fails.
	return s
}

func (s secret) text() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// hashOf returns the hash by which a secret is looked up; what is none has one, too,
// which nothing is found by.
func hashOf(text string) [32]byte { return sha256.Sum256([]byte(text)) }

// session is what a browser was given, instead of a proof with each request.
type session struct {
	// asker is who it was given by, and may no more; its own session is nil.
	asker asker
	owner *sessions
	// key is the hash of its code, later that of what it is known by, until its end.
	key   [32]byte
	until time.Time
	begun bool
}

// sessions are those of a node. They are in its memory only, and end with it.
type sessions struct {
	mu   sync.Mutex
	list map[[32]byte]*session
	held map[ledger.TenantID]int
}

func newSessions() *sessions {
	return &sessions{list: map[[32]byte]*session{}, held: map[ledger.TenantID]int{}}
}

// open makes a session for whoever shows the code within codeLife.
func (s *sessions) open(a asker, now time.Time) (code string, until time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full(a.Tenant) {
		for _, old := range s.list {
			if now.After(old.until) {
				s.drop(old)
			}
		}
	}
	if s.full(a.Tenant) {
		return "", time.Time{}, errSessionsFull
	}
	code = newSecret().text()
	until = now.Add(codeLife)
	s.put(&session{asker: a, owner: s, key: hashOf(code), until: until})
	return code, until, nil
}

func (s *sessions) full(tenant ledger.TenantID) bool {
	return len(s.list) >= sessionsMax || s.held[tenant] >= sessionsTenantMax
}

func (s *sessions) put(one *session) {
	s.list[one.key] = one
	s.held[one.asker.Tenant]++
}

func (s *sessions) drop(one *session) {
	delete(s.list, one.key)
	if s.held[one.asker.Tenant]--; s.held[one.asker.Tenant] == 0 {
		delete(s.held, one.asker.Tenant)
	}
}

// begin uses a code up, and returns what the session is known by from now on.
func (s *sessions) begin(code string, now time.Time) (id string, one *session, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opened, err := s.at(hashOf(code), false, now)
	if err != nil {
		return "", nil, err
	}
	s.drop(opened)
	until := now.Add(sessionLife)
	if end := opened.asker.Until; !end.IsZero() && end.Before(until) {
		until = end
	}
	id = newSecret().text()
	one = &session{asker: opened.asker, owner: s, key: hashOf(id), until: until, begun: true}
	s.put(one)
	return id, one, nil
}

// find returns the session that is known by id.
func (s *sessions) find(id string, now time.Time) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(hashOf(id), true, now)
}

// at looks up a session that has begun, or one that has not.
func (s *sessions) at(key [32]byte, begun bool, now time.Time) (*session, error) {
	one := s.list[key]
	switch {
	case (one == nil || one.begun != begun || now.After(one.until)) && begun:
		return nil, errSession
	case one == nil || one.begun != begun || now.After(one.until):
		return nil, errCode
	}
	return one, nil
}

// end forgets the session.
func (one *session) end() {
	one.owner.mu.Lock()
	defer one.owner.mu.Unlock()
	if one.owner.list[one.key] == one {
		one.owner.drop(one)
	}
}

// lasts reports whether the session has neither ended nor is over.
func (one *session) lasts(now time.Time) bool {
	one.owner.mu.Lock()
	defer one.owner.mu.Unlock()
	return one.owner.list[one.key] == one && !now.After(one.until)
}

// count returns how many there are.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}
