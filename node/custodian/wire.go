package custodian

import (
	"encoding/binary"
	"fmt"

	"github.com/dugnad/dugnad/ledger"
	"github.com/dugnad/dugnad/p2p/rpc"
)

const (
	// keyMethod has a custodian open the key to a secret.
	keyMethod = "custodian.key"

	wireVersion = 1
	// questionBytesMax bounds a request: numbers, a tenant's and a secret's name.
	questionBytesMax = questionHead + 1 + 64 + 1 + ledger.SecretNameBytesMax
	questionHead     = 1 + 16 + 16 + 8 + 8
	// keyBytes is the length of an answer.
	keyBytes = 32
)

// Why a custodian gives no key. The codes are on the wire: they stay as they are.
var (
	// ErrMalformed: the request is not one.
	ErrMalformed = &rpc.Fault{Code: "malformed", Text: "malformed request"}
	// ErrNoLease: the ledger knows no lease of the node on tasks of the job.
	ErrNoLease = &rpc.Fault{Code: "no_lease", Text: "the node has no lease on tasks of the job"}
	// ErrNotNamed: the job is another tenant's, or does not name the secret.
	ErrNotNamed = &rpc.Fault{Code: "not_named", Text: "the job is not to have the secret"}
	// ErrNotForNode: the secret is for other nodes.
	ErrNotForNode = &rpc.Fault{Code: "not_for_node", Text: "the secret is not for the node"}
	// ErrOtherValue: the secret has another value, or is gone.
	ErrOtherValue = &rpc.Fault{Code: "other_value", Text: "the secret has another value, or was removed"}
	// ErrNoKey: nothing is sealed to this custodian, or it does not open.
	ErrNoKey = &rpc.Fault{Code: "no_key", Text: "the custodian has no key to the secret"}
	// ErrClosing: the node is not ready, or stops.
	ErrClosing = &rpc.Fault{Code: "closing", Text: "the node opens no secrets now"}
)

// question asks for the key to a value of a secret.
type question struct {
	// id is the value's, job the one that names the secret, epoch the asker's lease on
	// tasks of it, index a state of the ledger that knows all of that.
	id     [16]byte
	job    ledger.JobID
	epoch  ledger.Epoch
	index  uint64
	tenant ledger.TenantID
	name   ledger.SecretName
}

func (q *question) encode() []byte {
	b := append([]byte{wireVersion}, q.id[:]...)
	b = append(b, q.job[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(q.epoch))
	b = binary.BigEndian.AppendUint64(b, q.index)
	b = append(append(b, byte(len(q.tenant))), q.tenant...)
	return append(append(b, byte(len(q.name))), q.name...)
}

// decodeQuestion reads what encode writes. Its errors are ErrMalformed.
func decodeQuestion(b []byte) (q question, err error) {
	if len(b) < questionHead || len(b) > questionBytesMax || b[0] != wireVersion {
		return q, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	q.id, q.job = [16]byte(b[1:17]), ledger.JobID(b[17:33])
	q.epoch, q.index = ledger.Epoch(binary.BigEndian.Uint64(b[33:])), binary.BigEndian.Uint64(b[41:])
	tenant, rest, ok := cutText(b[questionHead:])
	name, rest, named := cutText(rest)
	if !ok || !named || len(rest) > 0 || tenant == "" || !ledger.ValidSecretName(ledger.SecretName(name)) {
		return q, fmt.Errorf("%w: its names are none", ErrMalformed)
	}
	q.tenant, q.name = ledger.TenantID(tenant), ledger.SecretName(name)
	return q, nil
}

// cutText takes a text with its length off the front of b.
func cutText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	return string(b[1 : 1+b[0]]), b[1+b[0]:], true
}
