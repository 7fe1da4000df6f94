package ledger

import "bytes"

func (c *NoteReasons) apply(s *session) Result {
	if len(c.Notes) > ItemsMax {
		return over(CodeTooMany, "notes", uint64(len(c.Notes)), ItemsMax)
	}
	r := Result{Items: make([]Item, len(c.Notes))}
	for i, n := range c.Notes {
		r.Items[i].Code = s.noteReasons(&n)
	}
	return r
}

func (s *session) noteReasons(n *Note) Code {
	j := s.job(n.Job)
	switch {
	case j == nil:
		return CodeJobUnknown
	case j.State != JobActive:
		return CodeJobState
	case len(n.Reasons) > ReasonsMax:
		return CodeTooMany
	case n.FreeAt < 0 || n.FreeAt > TimeMax:
		return CodeInvalid
	}
	for _, r := range n.Reasons {
		if !validText(r.What) || len(r.Detail) > DetailBytesMax {
			return CodeInvalid
		}
	}
	var was Reasons
	known := s.load(keyReasons(n.Job), &was)
	is := Reasons{At: was.At, List: n.Reasons, Nodes: n.Nodes, Sampled: n.Sampled, FreeAt: n.FreeAt}
	switch {
	case len(n.Reasons) > 0 && known && bytes.Equal(encode(&was), encode(&is)):
		// Planners note the same again and again.
	case len(n.Reasons) > 0:
		is.At = s.now
		s.save(keyReasons(n.Job), &is)
	case known:
		s.delete(keyReasons(n.Job))
	}
	return CodeOK
}
