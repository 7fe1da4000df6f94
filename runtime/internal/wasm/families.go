package wasm

// family is a run of consecutive opcodes that share a prefix of the name, a
// signature and a kind of immediate. A name of "-" leaves a gap; "name=sig"
// overrides the signature. Signatures list operand types before the colon and
// result types behind it: i is i32, I i64, f f32, F f64, v v128.
type family struct {
	first  Opcode
	prefix string
	sig    string
	imm    Imm
	lanes  uint8
	width  uint8
	names  string
}

const (
	compareInt   = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u"
	compareFloat = "eq ne lt gt le ge"
	binaryInt    = "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr"
	unaryFloat   = "abs neg ceil floor trunc nearest sqrt"
	binaryFloat  = "add sub mul div min max copysign"
)

// families lists every instruction of the Core Specification 2.0, in the
// order of chapter 5.4.
var families = []family{
	{first: 0x00, names: "unreachable nop"},
	{first: 0x02, imm: ImmBlock, names: "block loop if"},
	{first: 0x05, names: "else"},
	{first: 0x0b, names: "end"},
	{first: 0x0c, imm: ImmLabel, names: "br br_if"},
	{first: 0x0e, imm: ImmBrTable, names: "br_table"},
	{first: 0x0f, names: "return"},
	{first: 0x10, imm: ImmFunc, names: "call"},
	{first: 0x11, imm: ImmCallIndirect, names: "call_indirect"},
	{first: 0x1a, names: "drop select"},
	{first: 0x1c, imm: ImmSelectTypes, names: "select"},
	{first: 0x20, imm: ImmLocal, prefix: "local.", names: "get set tee"},
	{first: 0x23, imm: ImmGlobal, prefix: "global.", names: "get set"},
	{first: 0x25, imm: ImmTable, prefix: "table.", names: "get set"},
	{first: 0x28, imm: ImmMemArg, names: "i32.load=i:i i64.load=i:I f32.load=i:f f64.load=i:F"},
	{first: 0x2c, imm: ImmMemArg, prefix: "i32.", sig: "i:i", names: "load8_s load8_u load16_s load16_u"},
	{first: 0x30, imm: ImmMemArg, prefix: "i64.", sig: "i:I", names: "load8_s load8_u load16_s load16_u load32_s load32_u"},
	{first: 0x36, imm: ImmMemArg, names: "i32.store=ii: i64.store=iI: f32.store=if: f64.store=iF:"},
	{first: 0x3a, imm: ImmMemArg, prefix: "i32.", sig: "ii:", names: "store8 store16"},
	{first: 0x3c, imm: ImmMemArg, prefix: "i64.", sig: "iI:", names: "store8 store16 store32"},
	{first: 0x3f, imm: ImmMemory, prefix: "memory.", names: "size=:i grow=i:i"},
	{first: 0x41, imm: ImmI32, names: "i32.const=:i"},
	{first: 0x42, imm: ImmI64, names: "i64.const=:I"},
	{first: 0x43, imm: ImmF32, names: "f32.const=:f"},
	{first: 0x44, imm: ImmF64, names: "f64.const=:F"},
	{first: 0x45, prefix: "i32.", sig: "ii:i", names: "eqz=i:i " + compareInt},
	{first: 0x50, prefix: "i64.", sig: "II:i", names: "eqz=I:i " + compareInt},
	{first: 0x5b, prefix: "f32.", sig: "ff:i", names: compareFloat},
	{first: 0x61, prefix: "f64.", sig: "FF:i", names: compareFloat},
	{first: 0x67, prefix: "i32.", sig: "ii:i", names: "clz=i:i ctz=i:i popcnt=i:i " + binaryInt},
	{first: 0x79, prefix: "i64.", sig: "II:I", names: "clz=I:I ctz=I:I popcnt=I:I " + binaryInt},
	{first: 0x8b, prefix: "f32.", sig: "f:f", names: unaryFloat},
	{first: 0x92, prefix: "f32.", sig: "ff:f", names: binaryFloat},
	{first: 0x99, prefix: "f64.", sig: "F:F", names: unaryFloat},
	{first: 0xa0, prefix: "f64.", sig: "FF:F", names: binaryFloat},
	{first: 0xa7, prefix: "i32.", names: "wrap_i64=I:i trunc_f32_s=f:i trunc_f32_u=f:i trunc_f64_s=F:i trunc_f64_u=F:i"},
	{first: 0xac, prefix: "i64.", names: "extend_i32_s=i:I extend_i32_u=i:I trunc_f32_s=f:I trunc_f32_u=f:I trunc_f64_s=F:I trunc_f64_u=F:I"},
	{first: 0xb2, prefix: "f32.", names: "convert_i32_s=i:f convert_i32_u=i:f convert_i64_s=I:f convert_i64_u=I:f demote_f64=F:f"},
	{first: 0xb7, prefix: "f64.", names: "convert_i32_s=i:F convert_i32_u=i:F convert_i64_s=I:F convert_i64_u=I:F promote_f32=f:F"},
	{first: 0xbc, names: "i32.reinterpret_f32=f:i i64.reinterpret_f64=F:I f32.reinterpret_i32=i:f f64.reinterpret_i64=I:F"},
	{first: 0xc0, prefix: "i32.", sig: "i:i", names: "extend8_s extend16_s"},
	{first: 0xc2, prefix: "i64.", sig: "I:I", names: "extend8_s extend16_s extend32_s"},
	{first: 0xd0, imm: ImmRefType, prefix: "ref.", names: "null"},
	{first: 0xd1, prefix: "ref.", names: "is_null"},
	{first: 0xd2, imm: ImmFunc, prefix: "ref.", names: "func"},

	{first: 0x100, prefix: "i32.", names: "trunc_sat_f32_s=f:i trunc_sat_f32_u=f:i trunc_sat_f64_s=F:i trunc_sat_f64_u=F:i"},
	{first: 0x104, prefix: "i64.", names: "trunc_sat_f32_s=f:I trunc_sat_f32_u=f:I trunc_sat_f64_s=F:I trunc_sat_f64_u=F:I"},
	{first: 0x108, imm: ImmMemoryInit, prefix: "memory.", names: "init=iii:"},
	{first: 0x109, imm: ImmData, prefix: "data.", names: "drop=:"},
	{first: 0x10a, imm: ImmMemory2, prefix: "memory.", names: "copy=iii:"},
	{first: 0x10b, imm: ImmMemory, prefix: "memory.", names: "fill=iii:"},
	{first: 0x10c, imm: ImmTableInit, prefix: "table.", names: "init=iii:"},
	{first: 0x10d, imm: ImmElem, prefix: "elem.", names: "drop=:"},
	{first: 0x10e, imm: ImmTable2, prefix: "table.", names: "copy=iii:"},
	{first: 0x10f, imm: ImmTable, prefix: "table.", names: "grow size=:i fill"},

	{first: 0x200, imm: ImmMemArg, prefix: "v128.", sig: "i:v", names: "load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u load8_splat load16_splat load32_splat load64_splat store=iv:"},
	{first: 0x20c, imm: ImmV128, names: "v128.const=:v"},
	{first: 0x20d, imm: ImmShuffle, names: "i8x16.shuffle=vv:v"},
	{first: 0x20e, names: "i8x16.swizzle=vv:v i8x16.splat=i:v i16x8.splat=i:v i32x4.splat=i:v i64x2.splat=I:v f32x4.splat=f:v f64x2.splat=F:v"},
	{first: 0x215, imm: ImmLane, lanes: 16, prefix: "i8x16.", names: "extract_lane_s=v:i extract_lane_u=v:i replace_lane=vi:v"},
	{first: 0x218, imm: ImmLane, lanes: 8, prefix: "i16x8.", names: "extract_lane_s=v:i extract_lane_u=v:i replace_lane=vi:v"},
	{first: 0x21b, imm: ImmLane, lanes: 4, prefix: "i32x4.", names: "extract_lane=v:i replace_lane=vi:v"},
	{first: 0x21d, imm: ImmLane, lanes: 2, prefix: "i64x2.", names: "extract_lane=v:I replace_lane=vI:v"},
	{first: 0x21f, imm: ImmLane, lanes: 4, prefix: "f32x4.", names: "extract_lane=v:f replace_lane=vf:v"},
	{first: 0x221, imm: ImmLane, lanes: 2, prefix: "f64x2.", names: "extract_lane=v:F replace_lane=vF:v"},
	{first: 0x223, prefix: "i8x16.", sig: "vv:v", names: compareInt},
	{first: 0x22d, prefix: "i16x8.", sig: "vv:v", names: compareInt},
	{first: 0x237, prefix: "i32x4.", sig: "vv:v", names: compareInt},
	{first: 0x241, prefix: "f32x4.", sig: "vv:v", names: compareFloat},
	{first: 0x247, prefix: "f64x2.", sig: "vv:v", names: compareFloat},
	{first: 0x24d, prefix: "v128.", sig: "vv:v", names: "not=v:v and andnot or xor bitselect=vvv:v any_true=v:i"},
	{first: 0x254, imm: ImmMemArgLane, lanes: 16, width: 1, names: "v128.load8_lane=iv:v"},
	{first: 0x255, imm: ImmMemArgLane, lanes: 8, width: 2, names: "v128.load16_lane=iv:v"},
	{first: 0x256, imm: ImmMemArgLane, lanes: 4, width: 4, names: "v128.load32_lane=iv:v"},
	{first: 0x257, imm: ImmMemArgLane, lanes: 2, width: 8, names: "v128.load64_lane=iv:v"},
	{first: 0x258, imm: ImmMemArgLane, lanes: 16, width: 1, names: "v128.store8_lane=iv:"},
	{first: 0x259, imm: ImmMemArgLane, lanes: 8, width: 2, names: "v128.store16_lane=iv:"},
	{first: 0x25a, imm: ImmMemArgLane, lanes: 4, width: 4, names: "v128.store32_lane=iv:"},
	{first: 0x25b, imm: ImmMemArgLane, lanes: 2, width: 8, names: "v128.store64_lane=iv:"},
	{first: 0x25c, imm: ImmMemArg, prefix: "v128.", sig: "i:v", names: "load32_zero load64_zero"},
	{first: 0x25e, sig: "v:v", names: "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4"},
	{first: 0x260, prefix: "i8x16.", sig: "vv:v", names: "abs=v:v neg=v:v popcnt=v:v all_true=v:i bitmask=v:i narrow_i16x8_s narrow_i16x8_u"},
	{first: 0x267, prefix: "f32x4.", sig: "v:v", names: "ceil floor trunc nearest"},
	{first: 0x26b, prefix: "i8x16.", sig: "vv:v", names: "shl=vi:v shr_s=vi:v shr_u=vi:v add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"},
	{first: 0x274, prefix: "f64x2.", sig: "v:v", names: "ceil floor"},
	{first: 0x276, prefix: "i8x16.", sig: "vv:v", names: "min_s min_u max_s max_u"},
	{first: 0x27a, names: "f64x2.trunc=v:v i8x16.avgr_u=vv:v"},
	{first: 0x27c, sig: "v:v", names: "i16x8.extadd_pairwise_i8x16_s i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u"},
	{first: 0x280, prefix: "i16x8.", sig: "vv:v", names: "abs=v:v neg=v:v q15mulr_sat_s all_true=v:i bitmask=v:i narrow_i32x4_s narrow_i32x4_u extend_low_i8x16_s=v:v extend_high_i8x16_s=v:v extend_low_i8x16_u=v:v extend_high_i8x16_u=v:v shl=vi:v shr_s=vi:v shr_u=vi:v add add_sat_s add_sat_u sub sub_sat_s sub_sat_u"},
	{first: 0x294, names: "f64x2.nearest=v:v"},
	{first: 0x295, prefix: "i16x8.", sig: "vv:v", names: "mul min_s min_u max_s max_u - avgr_u extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u"},
	{first: 0x2a0, prefix: "i32x4.", sig: "vv:v", names: "abs=v:v neg=v:v - all_true=v:i bitmask=v:i - - extend_low_i16x8_s=v:v extend_high_i16x8_s=v:v extend_low_i16x8_u=v:v extend_high_i16x8_u=v:v shl=vi:v shr_s=vi:v shr_u=vi:v add - - sub - - - mul min_s min_u max_s max_u dot_i16x8_s - extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u"},
	{first: 0x2c0, prefix: "i64x2.", sig: "vv:v", names: "abs=v:v neg=v:v - all_true=v:i bitmask=v:i - - extend_low_i32x4_s=v:v extend_high_i32x4_s=v:v extend_low_i32x4_u=v:v extend_high_i32x4_u=v:v shl=vi:v shr_s=vi:v shr_u=vi:v add - - sub - - - mul eq ne lt_s gt_s le_s ge_s extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u"},
	{first: 0x2e0, prefix: "f32x4.", sig: "vv:v", names: "abs=v:v neg=v:v - sqrt=v:v add sub mul div min max pmin pmax"},
	{first: 0x2ec, prefix: "f64x2.", sig: "vv:v", names: "abs=v:v neg=v:v - sqrt=v:v add sub mul div min max pmin pmax"},
	{first: 0x2f8, sig: "v:v", names: "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u"},
}
