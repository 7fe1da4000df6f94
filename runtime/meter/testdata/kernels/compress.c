/* A small LZ coder: a flag byte for eight items, literals or (distance, length) pairs. */
static unsigned char input[1 << 16], packed[1 << 17], output[1 << 16];
static int heads[4096];
static unsigned hash3(const unsigned char *p) { return (p[0] * 506832829u ^ p[1] * 40503u ^ p[2] * 2654435761u) >> 7 & 4095; }
static int pack(int n) {
    int out = 0, flagAt = 0, items = 8;
    for (int i = 0; i < 4096; i++) heads[i] = -1;
    for (int i = 0; i < n;) {
        if (items == 8) { flagAt = out++; packed[flagAt] = 0; items = 0; }
        int best = 0, from = 0;
        if (i + 3 < n) {
            unsigned h = hash3(input + i);
            from = heads[h];
            heads[h] = i;
            if (from >= 0 && i - from < 65536) while (best < 255 && i + best < n && input[from + best] == input[i + best]) best++;
        }
        if (best >= 4) {
            packed[flagAt] |= (unsigned char)(1 << items);
            packed[out++] = (unsigned char)(i - from);
            packed[out++] = (unsigned char)((i - from) >> 8);
            packed[out++] = (unsigned char)best;
            i += best;
        } else packed[out++] = input[i++];
        items++;
    }
    return out;
}
static int unpack(int size, int n) {
    int in = 0, out = 0;
    while (out < n && in < size) {
        unsigned flags = packed[in++];
        for (int k = 0; k < 8 && out < n; k++, flags >>= 1) {
            if (flags & 1) {
                int distance = packed[in] | packed[in + 1] << 8, length = packed[in + 2];
                in += 3;
                for (; length; length--, out++) output[out] = output[out - distance];
            } else output[out++] = packed[in++];
        }
    }
    return out;
}
int run(int rounds) {
    int total = 0;
    unsigned seed = 7;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < (int)sizeof input; i++) {
            if ((i & 63) == 0) seed = seed * 1664525u + 1013904223u;
            input[i] = (unsigned char)((seed >> (i & 15)) & 31);
        }
        int size = pack(sizeof input);
        if (unpack(size, sizeof input) != (int)sizeof input) return -1;
        for (int i = 0; i < (int)sizeof input; i++) if (input[i] != output[i]) return -2;
        total += size;
    }
    return total;
}
