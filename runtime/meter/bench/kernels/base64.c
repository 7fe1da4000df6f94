/* Bytes to text and back, checked. */
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static unsigned char bytes[48 << 10], back[48 << 10], text[64 << 10], values[256];
int run(int rounds) {
    unsigned seed = 3, sum = 0;
    for (unsigned i = 0; i < 64; i++) values[(unsigned char)letters[i]] = (unsigned char)i;
    for (unsigned i = 0; i < sizeof bytes; i++) { seed = seed * 1664525u + 1013904223u; bytes[i] = (unsigned char)(seed >> 24); }
    for (int r = 0; r < rounds; r++) {
        unsigned out = 0;
        for (unsigned i = 0; i < sizeof bytes; i += 3) {
            unsigned three = (unsigned)bytes[i] << 16 | (unsigned)bytes[i + 1] << 8 | bytes[i + 2];
            for (int shift = 18; shift >= 0; shift -= 6) text[out++] = (unsigned char)letters[three >> shift & 63];
        }
        unsigned to = 0;
        for (unsigned i = 0; i < out; i += 4) {
            unsigned four = 0;
            for (unsigned k = 0; k < 4; k++) four = four << 6 | values[text[i + k]];
            back[to++] = (unsigned char)(four >> 16);
            back[to++] = (unsigned char)(four >> 8);
            back[to++] = (unsigned char)four;
        }
        for (unsigned i = 0; i < to; i++) if (bytes[i] != back[i]) return -1;
        sum = sum * 31 + text[(unsigned)r * 97u % out];
        bytes[(unsigned)r * 13u % sizeof bytes] ^= 85;
    }
    return (int)(sum & 0x7fffffff);
}
