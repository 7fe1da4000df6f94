package meter

import (
	"fmt"

	"github.com/dugnad/dugnad/runtime/internal/wasm"
)

// Mix counts the instructions of each class in a module that lint has accepted,
// as they stand in the code and not as they run. The slice is indexed by Class.
// An error wraps ErrModule.
func Mix(module []byte) ([]int, error) {
	m, err := parse(module)
	if err != nil {
		return nil, err
	}
	counts := make([]int, classes)
	r, n, err := m.reader(wasm.SectionCode)
	for ; err == nil && n > 0; n-- {
		err = mixBody(counts, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, err)
	}
	return counts, nil
}

// mixBody counts the instructions of the body that begins at r.
func mixBody(counts []int, r *wasm.Reader) error {
	size, err := r.U32()
	if err != nil {
		return err
	}
	body, err := r.Sub(size)
	if err != nil {
		return err
	}
	groups, err := body.U32()
	for ; err == nil && groups > 0; groups-- {
		if _, err = body.U32(); err == nil {
			_, err = body.ValType()
		}
	}
	var in wasm.Instr
	for err == nil && body.Len() > 0 {
		if err = body.Next(&in); err == nil {
			counts[ClassOf(in.Op)]++
		}
	}
	return err
}
