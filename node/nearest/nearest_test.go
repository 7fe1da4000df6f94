package nearest

import "testing"

func TestName(t *testing.T) {
	names := []string{"fuel", "memory", "timeout", "max-output"}
	for word, want := range map[string]string{
		"feul": "fuel", "memry": "memory", "time-out": "timeout", "maxoutput": "max-output",
		"MEMORY": "", "zebra": "", "": "",
	} {
		if got := Name(word, names); got != want {
			t.Errorf("Name(%q) = %q, want %q", word, got, want)
		}
	}
}
