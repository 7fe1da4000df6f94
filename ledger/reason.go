package ledger

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
	}
	for _, r := range n.Reasons {
		if !validText(r.What) {
			return CodeInvalid
		}
	}
	if len(n.Reasons) == 0 {
		s.delete(keyReasons(n.Job))
	} else {
		s.save(keyReasons(n.Job), &Reasons{At: s.now, List: n.Reasons})
	}
	return CodeOK
}
