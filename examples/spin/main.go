// Command spin never ends: its limits end it.
package main

func main() {
	for n := 0; ; n++ {
		_ = n
	}
}
