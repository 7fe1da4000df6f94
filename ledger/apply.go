package ledger

import (
	"errors"
	"fmt"
)

// Apply does one command, an encoded Envelope, and returns its encoded Result.
// The same commands in the same order give the same bytes in tx and the same
// results on every replica. Apply does not look at index.
//
// A refusal is a result. An error is a fault: of the transaction, of what is
// stored, or ErrUnknownCommand; the caller discards tx and stops. Bytes that
// cannot be read, but whose version and number are known, are refused with
// CodeMalformed, so that a client's mistake does not stop the grid.
//
// Of each client the last sequence number is kept with its result: the same
// command again gives the same result and has no effect, an older one is
// refused as stale.
func Apply(tx Tx, index uint64, command []byte) (result []byte, err error) {
	defer catch(&err)
	e, err := Decode(command)
	if errors.Is(err, ErrUnknownCommand) {
		return nil, fmt.Errorf("apply command at index %d: %w", index, err)
	}
	if err != nil {
		r := refuse(CodeMalformed, "command")
		return encode(&r), nil
	}
	// Zero stands for never in the records.
	if e.Now <= 0 || e.Now > TimeMax {
		r := refuse(CodeInvalid, "now")
		return encode(&r), nil
	}
	s := &session{reader: reader{tx}, now: e.Now}
	if e.Client == ([16]byte{}) {
		return s.do(e.Body), nil
	}
	c := &client{}
	known := s.load(keyClient(e.Client), c)
	switch {
	case known && e.Seq == c.Seq:
		return c.Result, nil
	case known && e.Seq < c.Seq:
		r := over(CodeStaleSequence, "sequence", e.Seq, c.Seq)
		return encode(&r), nil
	}
	if !known {
		c.Timer = e.Now + ClientNanos
		s.arm(c.Timer, timerClient, e.Client[:])
	}
	// The command may be the Tick that forgets clients: not this one.
	s.sender, s.memory = e.Client, c
	c.Seq, c.Last = e.Seq, max(c.Last, e.Now)
	c.Result = s.do(e.Body)
	s.save(keyClient(e.Client), c)
	return c.Result, nil
}

// do applies the command, does what follows from it, and writes the records.
func (s *session) do(c Command) []byte {
	r := c.apply(s)
	s.runErrands()
	s.flush()
	r.More = r.More || s.more
	return encode(&r)
}
