package wasm

import "testing"

func TestOpcodeTableIsComplete(t *testing.T) {
	count := map[string]int{}
	for op := Opcode(0); op < opcodeCount; op++ {
		if info := Lookup(op); info != nil {
			count[[]string{"plain", "0xfc", "0xfd"}[op>>8]]++
			for _, v := range append(append([]ValType{}, info.Params...), info.Results...) {
				if !v.Valid() {
					t.Errorf("%s: operand type %s", info.Name, v)
				}
			}
			if (info.Imm == ImmMemArg || info.Imm == ImmMemArgLane) && info.Width == 0 {
				t.Errorf("%s has no width", info.Name)
			}
			if (info.Imm == ImmLane || info.Imm == ImmMemArgLane) && info.Lanes == 0 {
				t.Errorf("%s has no lanes", info.Name)
			}
		}
	}
	// Counted in the index of instructions of the Core Specification 2.0.
	want := map[string]int{"plain": 183, "0xfc": 18, "0xfd": 236}
	for k, n := range want {
		if count[k] != n {
			t.Errorf("%s: %d instructions, want %d", k, count[k], n)
		}
	}
	for op, name := range map[Opcode]string{
		0x45: "i32.eqz", 0x6a: "i32.add", 0xa6: "f64.copysign", 0xbf: "f64.reinterpret_i64", 0xc4: "i64.extend32_s",
		0x111: "table.fill", 0x253: "v128.any_true", 0x2ba: "i32x4.dot_i16x8_s", 0x2d6: "i64x2.eq", 0x2ff: "f64x2.convert_low_i32x4_u",
		0x283: "i16x8.all_true", 0x29c: "i16x8.extmul_low_i8x16_s", 0x2f7: "f64x2.pmax", 0x27b: "i8x16.avgr_u",
	} {
		if op.String() != name {
			t.Errorf("%#x is %s, want %s", uint16(op), op, name)
		}
	}
}

func TestIntegers(t *testing.T) {
	type row struct {
		name  string
		bytes []byte
		read  func(*Reader) (int64, error)
		want  int64
		fails bool
	}
	u32 := func(r *Reader) (int64, error) { v, err := r.U32(); return int64(v), err }
	u64 := func(r *Reader) (int64, error) { v, err := r.U64(); return int64(v), err }
	s32 := func(r *Reader) (int64, error) { v, err := r.S32(); return int64(v), err }
	for _, c := range []row{
		{"u32 zero", []byte{0}, u32, 0, false},
		{"u32 padded", []byte{0x80, 0x80, 0x80, 0x80, 0}, u32, 0, false},
		{"u32 max", []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, u32, 1<<32 - 1, false},
		{"u32 33 bits", []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, u32, 0, true},
		{"u32 six bytes", []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, u32, 0, true},
		{"u32 cut", []byte{0x80}, u32, 0, true},
		{"u64 max", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, u64, -1, false},
		{"u64 65 bits", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3}, u64, 0, true},
		{"s32 minus one", []byte{0x7f}, s32, -1, false},
		{"s32 min", []byte{0x80, 0x80, 0x80, 0x80, 0x78}, s32, -1 << 31, false},
		{"s32 max", []byte{0xff, 0xff, 0xff, 0xff, 0x07}, s32, 1<<31 - 1, false},
		{"s32 33 bits", []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, s32, 0, true},
		{"s32 bad sign", []byte{0x80, 0x80, 0x80, 0x80, 0x70}, s32, 0, true},
		{"s33 min", []byte{0x80, 0x80, 0x80, 0x80, 0x70}, (*Reader).S33, -1 << 32, false},
		{"s33 void", []byte{0x40}, (*Reader).S33, -64, false},
		{"s64 min", []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, (*Reader).S64, -1 << 63, false},
		{"s64 bad sign", []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7e}, (*Reader).S64, 0, true},
	} {
		r := NewReader(c.bytes, 0, len(c.bytes))
		got, err := c.read(&r)
		if (err != nil) != c.fails || !c.fails && got != c.want {
			t.Errorf("%s: %d, %v; want %d, error %v", c.name, got, err, c.want, c.fails)
		}
	}
}

// FuzzNext checks that decoding always ends, stays within its range and moves
// forward.
func FuzzNext(f *testing.F) {
	f.Add([]byte{0x02, 0x40, 0x0e, 2, 0, 1, 0, 0x0b})
	f.Add([]byte{0xfd, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0xfc, 8, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b, 0, len(b))
		var in Instr
		for r.Len() > 0 {
			before := r.Offset()
			if err := r.Next(&in); err != nil {
				return
			}
			if in.Start != before || in.End != r.Offset() || in.End <= before || in.End > len(b) {
				t.Fatalf("instruction at %d reads [%d, %d) of %d", before, in.Start, in.End, len(b))
			}
		}
	})
}
