package sandbox

import "github.com/tetratelabs/wazero/api"

// mendedZero adapts functions to preview 0, which has another order of seek
// origins, a shorter filestat and a longer subscription.
var mendedZero = map[string]func(hostFunc) hostFunc{
	"fd_seek":           seekZero,
	"fd_filestat_get":   filestatZero(1),
	"path_filestat_get": filestatZero(4),
	"poll_oneoff": func(hostFunc) hostFunc {
		return charged("poll_oneoff", layoutZero.poll)
	},
}

// seekZero maps CUR, END, SET to preview 1's SET, CUR, END.
func seekZero(next hostFunc) hostFunc {
	return func(r *run, m api.Module, stack []uint64) {
		if whence := uint32(stack[2]); whence < 3 {
			stack[2] = uint64((whence + 1) % 3)
		}
		next(r, m, stack)
	}
}

// filestatZero turns the 64 bytes of a filestat at argument at into preview
// 0's 56, in which the number of links takes four bytes.
func filestatZero(at int) func(hostFunc) hostFunc {
	return func(next hostFunc) hostFunc {
		return func(r *run, m api.Module, stack []uint64) {
			b, ok := m.Memory().Read(uint32(stack[at]), 64)
			if !ok {
				stack[0] = errnoFault
				return
			}
			var behind [8]byte
			copy(behind[:], b[56:])
			next(r, m, stack)
			if uint32(stack[0]) == errnoSuccess {
				links := le.Uint32(b[24:])
				le.PutUint32(b[16:], uint32(b[16]))
				le.PutUint32(b[20:], links)
				copy(b[24:56], b[32:64])
			}
			copy(b[56:], behind[:])
		}
	}
}
