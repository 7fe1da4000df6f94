package main

import "testing"

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		file string
	}{
		"all":                    {nil, "BENCHMARKS.md"},
		"a look writes nothing":  {[]string{"-quick"}, ""},
		"a part writes nothing":  {[]string{"-only", "fib"}, ""},
		"unless somebody asks":   {[]string{"-only", "fib", "-write", "x.md"}, "x.md"},
		"nowhere, when asked to": {[]string{"-write", ""}, ""},
	} {
		got, err := parse(c.args)
		if err != nil || got.file != c.file {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for _, bad := range [][]string{{"fib"}, {"-starts", "0"}, {"-starts", "101"}, {"-x"}, {"-budget", "soon"}} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
