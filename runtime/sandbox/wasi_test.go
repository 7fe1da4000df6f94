package sandbox

import (
	"strings"
	"testing"
)

// wasiPreview1 is every function of WASI preview 1 with its parameters as its
// witx has them lowered: i is i32, I is i64. All but proc_exit return an i32.
var wasiPreview1 = map[string]string{
	"args_get": "ii", "args_sizes_get": "ii", "environ_get": "ii", "environ_sizes_get": "ii",
	"clock_res_get": "ii", "clock_time_get": "iIi",
	"fd_advise": "iIIi", "fd_allocate": "iII", "fd_close": "i", "fd_datasync": "i",
	"fd_fdstat_get": "ii", "fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "iII",
	"fd_filestat_get": "ii", "fd_filestat_set_size": "iI", "fd_filestat_set_times": "iIIi",
	"fd_pread": "iiiIi", "fd_prestat_get": "ii", "fd_prestat_dir_name": "iii", "fd_pwrite": "iiiIi",
	"fd_read": "iiii", "fd_readdir": "iiiIi", "fd_renumber": "ii", "fd_seek": "iIii",
	"fd_sync": "i", "fd_tell": "ii", "fd_write": "iiii",
	"path_create_directory": "iii", "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiiIIi",
	"path_link": "iiiiiii", "path_open": "iiiiiIIii", "path_readlink": "iiiiii",
	"path_remove_directory": "iii", "path_rename": "iiiiii", "path_symlink": "iiiii", "path_unlink_file": "iii",
	"poll_oneoff": "iiii", "proc_exit": "i", "proc_raise": "i", "random_get": "ii", "sched_yield": "",
	"sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
}

func lowered(params string) string {
	types := make([]string, len(params))
	for i, p := range params {
		types[i] = map[rune]string{'i': "i32", 'I': "i64"}[p]
	}
	return "(" + strings.Join(types, ", ") + ")"
}

// TestWholeOfWASI: a module may import any function of WASI preview 1, by both
// names of WASI, with the type that toolchains give it, and nothing else but the meter's.
func TestWholeOfWASI(t *testing.T) {
	e := open(t, nil)
	for _, module := range []string{"wasi_snapshot_preview1", "wasi_unstable"} {
		offered := e.offered[module]
		if len(offered) != len(wasiPreview1) {
			t.Errorf("%s has %d functions, want %d", module, len(offered), len(wasiPreview1))
		}
		for name, params := range wasiPreview1 {
			want := lowered(params) + " -> (i32)"
			if name == "proc_exit" {
				want = lowered(params) + " -> ()"
			}
			if offered[name] != want {
				t.Errorf("%s.%s is %q, want %q", module, name, offered[name], want)
			}
		}
	}
	if names := e.offered.names(); names != "dugnad_v1, wasi_snapshot_preview1 and wasi_unstable" {
		t.Errorf("offered are the functions of %s", names)
	}
}
