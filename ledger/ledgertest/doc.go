// Package ledgertest helps to test what is built on the ledger: a transaction
// in memory, transcripts of commands, a conformance suite for transactions and
// a cluster of replicas in one process.
package ledgertest
