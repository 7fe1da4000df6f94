package ledger

import (
	"bytes"
	"errors"
	"fmt"
)

// ParseOrderID is the inverse of OrderID.String.
func ParseOrderID(s string) (OrderID, error) {
	id, err := ParseJobID(s)
	return OrderID(id), err
}

// FindOrder returns a standing order, or ErrNotFound.
func FindOrder(tx Tx, id OrderID) (Order, error) { return one[Order](tx, keyOrder(id), "order", id) }

// FindOrderSpec returns what an order's jobs are made of, with the payload, or
// ErrNotFound.
func FindOrderSpec(tx Tx, id OrderID) (spec JobSpec, err error) {
	defer catch(&err)
	if spec, err = one[JobSpec](tx, keyOrderSpec(id), "specification of order", id); err == nil {
		spec.Payload = bytes.Clone(reader{tx}.get(keyOrderPayload(id)))
	}
	return spec, err
}

// Orders returns up to limit orders that come after the one given, in ascending order
// of id.
func Orders(tx Tx, after OrderID, limit int) ([]Order, error) {
	return page[Order](tx, []byte{tableOrder}, beyond(keyOrder(after), after == OrderID{}), limit)
}

// OrdersOf returns up to limit orders of a tenant that come after the one given, of
// those that have ended or of the others.
func OrdersOf(tx Tx, tenant TenantID, ended bool, after OrderID, limit int) (list []Order, err error) {
	defer catch(&err)
	r := reader{tx}
	prefix := prefixTenantOrder(tenant, ended)
	var ids []OrderID
	r.scan(prefix, beyond(keyTenantOrder(tenant, ended, after), after == OrderID{}), func(key, _ []byte) bool {
		if len(ids) >= limit {
			return false
		}
		ids = append(ids, OrderID(key[len(prefix):]))
		return true
	})
	for _, id := range ids {
		var o Order
		r.load(keyOrder(id), &o)
		list = append(list, o)
	}
	return list, nil
}

// Seats returns up to limit seats of a daemon order behind that on a node.
func Seats(tx Tx, order OrderID, after NodeID, limit int) ([]Seat, error) {
	return page[Seat](tx, prefixSeat(order), beyond(keySeat(order, after), after == ""), limit)
}

// MadeBy returns the order that made a job, and whether one did. The order may be
// forgotten already.
func MadeBy(tx Tx, job JobID) (id OrderID, made bool, err error) {
	m, err := one[maker](tx, keyMaker(job), "maker of job", job)
	if errors.Is(err, ErrNotFound) {
		return id, false, nil
	}
	return m.Order, err == nil, err
}

// ReadOrder reads a change of an order: a key that begins with OrderPrefix, and its
// value, nil when the order was forgotten. An error means that Apply has not written
// them.
func ReadOrder(key, value []byte) (id OrderID, o *Order, err error) {
	if len(key) != 1+len(id) || key[0] != tableOrder {
		return id, nil, fmt.Errorf("read %q: %w", key, ErrMalformed)
	}
	id = OrderID(key[1:])
	if value == nil {
		return id, nil, nil
	}
	o = &Order{}
	if err := decode(value, o); err != nil {
		return id, nil, fmt.Errorf("read order %s: %w", id, err)
	}
	return id, o, nil
}

// ReadSeat does the same for a seat.
func ReadSeat(key, value []byte) (order OrderID, node NodeID, s *Seat, err error) {
	if len(key) <= 1+len(order) || key[0] != tableSeat {
		return order, "", nil, fmt.Errorf("read %q: %w", key, ErrMalformed)
	}
	order, node = OrderID(key[1:17]), NodeID(key[17:])
	if value == nil {
		return order, node, nil, nil
	}
	s = &Seat{}
	if err := decode(value, s); err != nil {
		return order, node, nil, fmt.Errorf("read seat of order %s: %w", order, err)
	}
	return order, node, s, nil
}
