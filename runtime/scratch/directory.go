package scratch

import "sort"

// blockMax is the largest number of entries in a block of a directory.
const blockMax = 256

// entry is one name in a folder.
type entry struct {
	name string
	node *node
}

// directory holds entries in the order of their names, in blocks of at most
// blockMax so that adding and removing cost the same in large folders. No
// block is empty. The zero value is an empty directory.
type directory struct {
	blocks [][]entry
	count  int
}

// find returns the block and the place in it where name is or belongs.
func (d *directory) find(name string) (block, place int, found bool) {
	block = sort.Search(len(d.blocks), func(i int) bool { return d.blocks[i][0].name > name }) - 1
	if block < 0 {
		return 0, 0, false
	}
	b := d.blocks[block]
	place = sort.Search(len(b), func(i int) bool { return b[i].name >= name })
	return block, place, place < len(b) && b[place].name == name
}

// get returns the node named name, or nil.
func (d *directory) get(name string) *node {
	b, i, found := d.find(name)
	if !found {
		return nil
	}
	return d.blocks[b][i].node
}

// put adds or replaces an entry.
func (d *directory) put(name string, n *node) {
	b, i, found := d.find(name)
	if found {
		d.blocks[b][i].node = n
		return
	}
	d.count++
	if len(d.blocks) == 0 {
		d.blocks = append(d.blocks, []entry{{name, n}})
		return
	}
	block := append(d.blocks[b], entry{})
	copy(block[i+1:], block[i:])
	block[i] = entry{name, n}
	d.blocks[b] = block
	if len(block) > blockMax {
		d.split(b)
	}
}

// split halves block b; a last block keeps most, since names often come in
// order.
func (d *directory) split(b int) {
	block := d.blocks[b]
	at := len(block) / 2
	if b == len(d.blocks)-1 {
		at = len(block) - 8
	}
	tail := append([]entry(nil), block[at:]...)
	clear(block[at:])
	d.blocks[b] = block[:at:at]
	d.blocks = append(d.blocks, nil)
	copy(d.blocks[b+2:], d.blocks[b+1:])
	d.blocks[b+1] = tail
}

// remove takes out the entry named name, if there is one.
func (d *directory) remove(name string) {
	b, i, found := d.find(name)
	if !found {
		return
	}
	d.count--
	block := d.blocks[b]
	copy(block[i:], block[i+1:])
	block[len(block)-1] = entry{}
	d.blocks[b] = block[:len(block)-1]
	if len(d.blocks[b]) > 0 {
		return
	}
	copy(d.blocks[b:], d.blocks[b+1:])
	d.blocks[len(d.blocks)-1] = nil
	d.blocks = d.blocks[:len(d.blocks)-1]
}

// after calls visit with the entries whose names follow name, in order, until
// it returns false. The empty name comes before all others.
func (d *directory) after(name string, visit func(entry) bool) {
	b, i, found := d.find(name)
	if found {
		i++
	}
	for ; b < len(d.blocks); b, i = b+1, 0 {
		for ; i < len(d.blocks[b]); i++ {
			if !visit(d.blocks[b][i]) {
				return
			}
		}
	}
}
