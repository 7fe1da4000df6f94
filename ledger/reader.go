package ledger

import (
	"bytes"
	"fmt"
)

// fault carries an error of the transaction, or one about what is stored, from
// where it occurs to the function that the package exports: none of those in
// between could do anything about it.
type fault struct{ err error }

// catch turns a fault into an error; any other panic goes on.
func catch(err *error) {
	if r := recover(); r != nil {
		f, ok := r.(fault)
		if !ok {
			panic(r)
		}
		*err = f.err
	}
}

// reader reads records. Its methods raise a fault when they cannot.
type reader struct{ tx Tx }

func (r reader) get(key []byte) []byte {
	value, err := r.tx.Get(key)
	if err != nil {
		panic(fault{fmt.Errorf("read table %q: %w", key[0], err)})
	}
	return value
}

// load reads the record at key into v and reports whether there is one.
func (r reader) load(key []byte, v fielder) bool {
	value := r.get(key)
	if value == nil {
		return false
	}
	r.parse(key, value, v)
	return true
}

func (reader) parse(key, value []byte, v fielder) {
	if err := decode(value, v); err != nil {
		panic(fault{fmt.Errorf("read %q: %w", key, err)})
	}
}

func (r reader) scan(prefix, from []byte, visit func(key, value []byte) bool) {
	if err := r.tx.Scan(prefix, from, visit); err != nil {
		panic(fault{fmt.Errorf("scan table %q: %w", prefix[:min(len(prefix), 1)], err)})
	}
}

// each calls visit with all keys that have the prefix. It reads them in portions,
// so that visit may read and scan: not every Tx can scan within a scan.
func (r reader) each(prefix []byte, visit func(key, value []byte)) {
	const portion = 256
	var keys, values [][]byte
	for from := []byte(nil); ; {
		keys, values = keys[:0], values[:0]
		r.scan(prefix, from, func(key, value []byte) bool {
			keys, values = append(keys, bytes.Clone(key)), append(values, bytes.Clone(value))
			return len(keys) < portion
		})
		for i := range keys {
			visit(keys[i], values[i])
		}
		if len(keys) < portion {
			return
		}
		from = append(keys[portion-1], 0)
	}
}

// keys returns copies of up to limit keys with the prefix, for a loop that
// writes.
func (r reader) keys(prefix []byte, limit int) [][]byte {
	var keys [][]byte
	if limit <= 0 {
		return nil
	}
	r.scan(prefix, nil, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return len(keys) < limit
	})
	return keys
}
