// Command primes counts the primes below a number: primes [-list] BELOW.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strconv"
)

const belowMax = 100_000_000

func main() {
	list := flag.Bool("list", false, "print the primes, one a line, instead of their number")
	flag.Parse()
	below, err := strconv.Atoi(flag.Arg(0))
	if err != nil || flag.NArg() != 1 || below < 0 || below > belowMax {
		fmt.Fprintf(os.Stderr, "usage: primes [-list] BELOW, where BELOW is a number up to %d\n", belowMax)
		os.Exit(2)
	}
	primes := sieve(below)
	if !*list {
		fmt.Println(len(primes))
		return
	}
	out := bufio.NewWriter(os.Stdout)
	for _, p := range primes {
		fmt.Fprintln(out, p)
	}
	if err := out.Flush(); err != nil {
		os.Exit(1)
	}
}

// sieve returns the primes below n by the sieve of Eratosthenes.
func sieve(n int) []int {
	composite := make([]bool, n)
	var primes []int
	for i := 2; i < n; i++ {
		if composite[i] {
			continue
		}
		primes = append(primes, i)
		for j := i * i; j < n; j += i {
			composite[j] = true
		}
	}
	return primes
}
