// Command echo is a guest that answers each line of its stdin at once.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Printf("you said %s\n", lines.Text())
	}
}
