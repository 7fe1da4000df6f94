typedef unsigned int word;
static word constants[64];
static word rotate(word x, int by) { return x >> by | x << (32 - by); }
/* The constants are the fractional bits of cube roots of primes, found here by integer search. */
static void prepare(void) {
    int have = 0;
    for (int p = 2; have < 64; p++) {
        int prime = 1;
        for (int d = 2; d * d <= p; d++) if (p % d == 0) { prime = 0; break; }
        if (!prime) continue;
        double x = 7;
        for (int i = 0; i < 60; i++) x -= (x * x * x - p) / (3 * x * x);
        x -= (int)x;
        constants[have++] = (word)(x * 4294967296.0);
    }
}
static void block(word *state, const word *message) {
    word w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = message[i];
    for (int i = 16; i < 64; i++) {
        word s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        word s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    for (int i = 0; i < 8; i++) v[i] = state[i];
    for (int i = 0; i < 64; i++) {
        word s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        word t1 = v[7] + s1 + (v[6] ^ (v[4] & (v[5] ^ v[6]))) + constants[i] + w[i];
        word s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        word t2 = s0 + ((v[0] & v[1]) | (v[2] & (v[0] | v[1])));
        for (int k = 7; k > 0; k--) v[k] = v[k - 1];
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += v[i];
}
int run(int blocks) {
    prepare();
    word state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    word message[16];
    for (int b = 0; b < blocks; b++) {
        for (int i = 0; i < 16; i++) message[i] = (word)(b * 16 + i) * 2654435761u;
        block(state, message);
    }
    return (int)state[0];
}
