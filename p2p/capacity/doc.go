// Package capacity spreads what nodes can give now to whoever places work.
//
// Each node signs its Offer, and the Holding that says which objects it has,
// and sends them to its parent in a tree whose root places. A parent sends on
// the latest of each node below it, many in one batch. Offers are hints: they
// expire, may be lost, and nothing is decided by them alone.
//
// The tree is handed in (Config.Parent): in a grid it is the one by which
// replicas of the ledger feed each other, whose root is the leader.
package capacity
