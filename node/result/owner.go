package result

import (
	"encoding/hex"
	"strings"
)

// OwnerPrefix begins the names of those for whom results are pinned.
const OwnerPrefix = "job:"

// Owner names the owner for whom the results of a job are pinned in a content
// store, so that all of them can be given up with the job.
func Owner(job [16]byte) string { return OwnerPrefix + hex.EncodeToString(job[:]) }

// OwnerJob is the inverse of Owner; ok is false for any other name.
func OwnerJob(owner string) (job [16]byte, ok bool) {
	text, found := strings.CutPrefix(owner, OwnerPrefix)
	b, err := hex.DecodeString(text)
	if !found || err != nil || len(b) != len(job) || Owner([16]byte(b)) != owner {
		return job, false
	}
	return [16]byte(b), true
}
