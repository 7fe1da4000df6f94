package p2p

import (
	"fmt"
	"os"
	"path/filepath"
)

// Joined says whether the folder has what makes a node a member: a membership,
// or the grid's key.
func Joined(dir string) bool {
	for _, name := range []string{membershipFile, gridKeyFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// ParseRole is the inverse of Role.String.
func ParseRole(text string) (Role, error) {
	for r := RoleClient; r.valid(); r++ {
		if r.String() == text {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q is none of client, worker, admin", text)
}
