//go:build wasip1

// Command sorted is a kernel as Go compiles it: every function is a loop around
// a br_table. It sorts, looks up in maps and calls through interfaces.
package main

import (
	"slices"
	"strconv"
)

type shape interface{ area() int }

type (
	square    int
	rectangle [2]int
)

func (s square) area() int    { return int(s) * int(s) }
func (r rectangle) area() int { return r[0] * r[1] }

// run does n rounds and returns a sum of what it found.
//
//go:wasmexport run
func run(n int32) int32 {
	sum, seed := 0, uint32(7)
	for range n {
		values, counts := make([]int, 2000), map[string]int{}
		shapes := make([]shape, 0, len(values))
		for i := range values {
			seed = seed*1664525 + 1013904223
			values[i] = int(seed >> 8)
			counts[strconv.Itoa(values[i]%500)]++
			if i%2 == 0 {
				shapes = append(shapes, square(i%100))
			} else {
				shapes = append(shapes, rectangle{i % 10, i % 7})
			}
		}
		slices.Sort(values)
		for i, s := range shapes {
			sum += s.area() ^ values[i]
		}
		sum += counts["17"]
	}
	return int32(sum & 0x7fffffff)
}

func main() {}
