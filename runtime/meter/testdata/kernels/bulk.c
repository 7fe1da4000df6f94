static unsigned char area[1 << 22];
int run(int rounds) {
    unsigned sum = 0;
    for (int r = 0; r < rounds; r++) {
        unsigned from = (unsigned)r * 4099u % (1 << 21), size = 1u << (r % 16 + 4);
        __builtin_memset(area + from, r & 255, size);
        __builtin_memcpy(area + (1 << 21), area + from, size);
        __builtin_memmove(area + from + 3, area + from, size);
        sum = sum * 33 + area[(1 << 21) + size / 2];
    }
    return (int)sum;
}
