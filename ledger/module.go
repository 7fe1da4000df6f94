package ledger

import "slices"

func (c *PutModule) apply(s *session) Result {
	if c.Holder != "" && !validNode(c.Holder) {
		return refuse(CodeInvalid, "holder")
	}
	m := Module{ID: c.Module, Bytes: c.Bytes}
	if s.load(keyModule(c.Module), &m) && m.Bytes != c.Bytes {
		return outside("bytes", c.Bytes, m.Bytes, m.Bytes)
	}
	if c.Holder != "" {
		m.hold(c.Holder)
	}
	s.save(keyModule(c.Module), &m)
	return Result{}
}

func (c *DropModule) apply(s *session) Result {
	var m Module
	if !s.load(keyModule(c.Module), &m) {
		return refuse(CodeModuleUnknown, c.Module.String())
	}
	if m.References > 0 {
		return over(CodeModuleUsed, "references", m.References, 0)
	}
	s.delete(keyModule(c.Module))
	return Result{}
}

func (c *AddHolder) apply(s *session) Result {
	var m Module
	if !s.load(keyModule(c.Module), &m) {
		return refuse(CodeModuleUnknown, c.Module.String())
	}
	if !validNode(c.Node) {
		return refuse(CodeInvalid, "node")
	}
	if m.hold(c.Node) {
		s.save(keyModule(c.Module), &m)
	}
	return Result{}
}

func (c *DropHolder) apply(s *session) Result {
	var m Module
	if !s.load(keyModule(c.Module), &m) {
		return refuse(CodeModuleUnknown, c.Module.String())
	}
	if i, ok := slices.BinarySearch(m.Holders, c.Node); ok {
		m.Holders = slices.Delete(m.Holders, i, i+1)
		s.save(keyModule(c.Module), &m)
	}
	return Result{}
}

// hold adds a holder and reports whether that changed anything. HoldersMax are
// enough to fetch from: more are not kept.
func (m *Module) hold(n NodeID) bool {
	i, ok := slices.BinarySearch(m.Holders, n)
	if ok || len(m.Holders) >= HoldersMax {
		return false
	}
	m.Holders = slices.Insert(m.Holders, i, n)
	return true
}

// refer counts a job that names the module, or with -1 one that is pruned. It
// reports false when the module is not known.
func (s *session) refer(id ModuleID, by int) bool {
	var m Module
	if !s.load(keyModule(id), &m) {
		return false
	}
	m.References += uint64(by)
	s.save(keyModule(id), &m)
	return true
}
