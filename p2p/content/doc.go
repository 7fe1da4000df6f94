// Package content keeps objects, which are bytes named by their SHA-256, on
// disk, and fetches them from other members, from several at once.
//
// DESIGN.md beside this file explains how a single wrong byte finds its sender,
// what a crash can leave behind, and how one origin serves many.
package content
