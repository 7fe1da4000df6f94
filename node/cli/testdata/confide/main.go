// Command confide is a guest that was told a secret.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"time"
)

func main() {
	key := os.Getenv("KEY")
	switch os.Getenv("DO") {
	case "print":
		fmt.Print(key)
	case "hold":
		fmt.Fprintf(os.Stderr, "%x", sha256.Sum256([]byte(key)))
		time.Sleep(time.Hour)
	default:
		fmt.Printf("%x", sha256.Sum256([]byte(key)))
	}
}
