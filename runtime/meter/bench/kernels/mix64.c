/* Arithmetic on 64 bits: shifts, rotations, products, remainders. */
typedef unsigned long long u64;
static u64 turn(u64 x, int by) { return x << by | x >> (64 - by); }
int run(int n) {
    u64 a = 0x9e3779b97f4a7c15u, b = 1, sum = 0;
    for (int i = 0; i < n; i++) {
        u64 c = a;
        a = b;
        c ^= c << 23;
        b = c ^ a ^ c >> 17 ^ a >> 26;
        sum += turn(a * 0xff51afd7ed558ccdu, 31) ^ b;
        if ((i & 7) == 0) sum ^= sum % (a | 1);
        sum += (u64)__builtin_popcountll(b) << __builtin_ctzll(b | 1u << 20);
    }
    return (int)(sum ^ sum >> 32) & 0x7fffffff;
}
