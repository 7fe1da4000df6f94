package store

import (
	"bytes"
	"slices"
	"sync"
)

// floorsMax bounds the prefixes of which a floor is kept. Those whose low end is
// deleted again and again are few: timers, and what some command works off in parts.
const floorsMax = 16

// floors know where scans need not look. A scan of a prefix whose low end is deleted
// steadily steps over all that was there and is not compacted yet: thousands of keys
// for the first one that is left. What an update has found to be the first is the
// floor from then on, until an update writes below it.
//
// They are of a generation, in memory only. Views read them, updates change them under
// the store's writing.
type floors struct {
	mu sync.Mutex
	// list has the one that was raised last at its end.
	list []floor
}

// floor says that no key begins with prefix and is below key in the state of any index
// from index on. All keys are as they are in the database.
type floor struct {
	prefix, key []byte
	index       uint64
}

// find returns where a scan of all keys with the prefix begins that reads the state of
// an index: at the prefix when nothing else is known.
func (f *floors) find(prefix []byte, index uint64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		if is := &f.list[i]; index >= is.index && bytes.Equal(is.prefix, prefix) {
			return is.key
		}
	}
	return prefix
}

// follow takes in an update that is committed, before anybody reads its state: the
// floors that its scans have found, and what it has written.
func (f *floors) follow(found []floor, o *overlay) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, is := range found {
		f.list = slices.DeleteFunc(f.list, func(other floor) bool { return bytes.Equal(other.prefix, is.prefix) })
		f.list = append(f.list, is)
	}
	f.list = f.list[max(0, len(f.list)-floorsMax):]
	for i := range f.list {
		is := &f.list[i]
		for c := o.from(is.prefix); ; c.next() {
			w := c.peek()
			if w == nil || bytes.Compare(w.key, is.key) >= 0 {
				break
			}
			if w.value != nil {
				is.key = bytes.Clone(w.key)
				break
			}
		}
	}
}
