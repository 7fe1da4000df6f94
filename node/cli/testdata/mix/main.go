// Command mix does what makes programs differ from run to run: it looks at
// maps, goroutines, clocks, random bytes, its environment and its files.
package main

import (
	crand "crypto/rand"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

func main() {
	begin := time.Now()
	sum := fnv.New64a()
	m := map[string]int{}
	for i := range 2000 {
		m[fmt.Sprint(i)] = i
	}
	order := ""
	for k := range m {
		if order += k + " "; len(order) > 60 {
			break
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		io.WriteString(sum, k)
	}
	results := make(chan int)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			results <- i
		})
	}
	finished := []int{}
	for range 20 {
		finished = append(finished, <-results)
	}
	all.Wait()
	secret := make([]byte, 8)
	if _, err := crand.Read(secret); err != nil {
		panic(err)
	}
	n, err := io.Copy(sum, os.Stdin)
	if err != nil {
		panic(err)
	}
	err = filepath.WalkDir("/", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if path != "/input" && filepath.Dir(path) != "/input" {
			// Times of inputs are the host's.
			fmt.Fprintln(sum, path, info.Size(), info.Mode(), info.ModTime())
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	host, err := os.Hostname()
	if err != nil {
		panic(err)
	}
	fmt.Println(order, finished, rand.Int64(), fmt.Sprintf("%x", secret), n, dir, host, os.Args, len(os.Environ()), os.Getpid(), fmt.Sprintf("%x", sum.Sum64()))
	fmt.Println(begin.UnixNano(), time.Now().UnixNano(), time.Since(begin))
}
