package meter

// since bounds the fuel that may have been burnt on any way to a place. Its zero
// value is what is known behind a check.
type since struct {
	// check is the most since the last check.
	check int
	// call is 1 + the most since the return of a call that may have unwound a
	// deep stack, where no check came behind it, or 0 when no way is such.
	call int
}

func (a *since) add(fuel int) {
	a.check += fuel
	if a.call > 0 {
		a.call += fuel
	}
}

func (a *since) join(b since) { a.check, a.call = max(a.check, b.check), max(a.call, b.call) }
