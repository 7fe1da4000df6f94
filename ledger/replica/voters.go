package replica

import (
	"sort"

	"github.com/hashicorp/raft"
)

// countVoters counts the voters of a configuration.
func countVoters(servers []raft.Server) (n int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// health is what the leader thinks of a member.
type health uint8

const (
	// unknown: too short to tell; the member is left as it is.
	unknown health = iota
	// dead: silent for Config.DeadAfter.
	dead
	// healthy: there for Config.StableAfter without a break.
	healthy
	// caughtUp: healthy, and its log is as good as complete.
	caughtUp
)

// voterAction is one change of Raft's configuration.
type voterAction uint8

const (
	keepVoters voterAction = iota
	// addServer begins to send the log to a member, without a vote.
	addServer
	// promoteServer gives the vote to one that has the log.
	promoteServer
	// removeServer takes a member out.
	removeServer
)

// String names the action in logs.
func (a voterAction) String() string {
	return [...]string{"keep", "add", "promote", "remove"}[a]
}

type voterPlan struct {
	action voterAction
	id     string
}

// planVoters returns the next change, which is one step only: Raft changes its
// configuration one server at a time.
//
// The aim is 1, 3, 5 … voters, at most votersMax and no more than there are
// members. A dead voter is replaced by a healthy follower. Without one it stays,
// as it may come back, unless more than three voters are configured: then the
// quorum is the better for being smaller. An even number arises on the way, and
// when a voter leaves and there is no other.
func planVoters(servers []raft.Server, members map[string]Member, self string, votersMax int, healthOf func(id string) health) voterPlan {
	var voters, staging, deadVoters []string
	in := map[string]bool{}
	for _, s := range servers {
		id := string(s.ID)
		in[id] = true
		switch {
		case s.Suffrage != raft.Voter:
			staging = append(staging, id)
		default:
			voters = append(voters, id)
			if healthOf(id) == dead {
				deadVoters = append(deadVoters, id)
			}
		}
	}
	sort.Strings(voters)
	sort.Strings(deadVoters)
	var candidates []string
	eligible := 0
	for id, m := range members {
		if m.NeverVote && !in[id] {
			continue
		}
		eligible++
		if !in[id] && healthOf(id) >= healthy {
			candidates = append(candidates, id)
		}
	}
	sort.Strings(candidates)
	aim := min(votersMax, eligible-1+eligible%2)
	for _, id := range staging {
		switch _, known := members[id]; {
		case !known || healthOf(id) == dead || len(voters) >= aim && len(deadVoters) == 0:
			return voterPlan{removeServer, id}
		case healthOf(id) == caughtUp && (len(voters) < aim || len(deadVoters) > 0):
			if len(voters) > aim && len(deadVoters) > 0 {
				return voterPlan{removeServer, deadVoters[0]}
			}
			return voterPlan{promoteServer, id}
		}
	}
	for _, id := range voters {
		if _, known := members[id]; !known && id != self && len(voters) > 1 {
			return voterPlan{removeServer, id}
		}
	}
	switch spare := len(candidates) > 0 && len(staging) == 0; {
	case len(deadVoters) > 0 && (len(voters) > aim || len(voters) > 3 && !spare && len(staging) == 0):
		return voterPlan{removeServer, deadVoters[0]}
	case spare && (len(voters) < aim || len(deadVoters) > 0):
		return voterPlan{addServer, candidates[0]}
	case len(voters) > aim && len(deadVoters) == 0 && len(staging) == 0:
		for i := len(voters) - 1; i >= 0; i-- {
			if voters[i] != self {
				return voterPlan{removeServer, voters[i]}
			}
		}
	}
	return voterPlan{}
}
