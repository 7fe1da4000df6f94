package ledger

import (
	"fmt"
	"reflect"
)

// Damage changes the record at a key, for tests of what finds that.
func Damage(tx Tx, key []byte, change func(record reflect.Value)) error {
	value, err := tx.Get(key)
	if err != nil {
		return err
	}
	what, record := describeKey(key)
	if record == nil || value == nil {
		return fmt.Errorf("%s is no record", what)
	}
	if err := decode(value, record); err != nil {
		return err
	}
	change(reflect.ValueOf(record).Elem())
	return tx.Set(key, encode(record))
}
