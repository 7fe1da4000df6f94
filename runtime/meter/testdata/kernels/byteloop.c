static char text[1 << 16];
int run(int rounds) {
    for (int i = 0; i < (int)sizeof text - 1; i++) text[i] = (char)(i % 255 + 1);
    text[sizeof text - 1] = 0;
    unsigned crc = 0;
    for (int r = 0; r < rounds; r++) {
        const char volatile *p = text;
        while (*p) p++;
        unsigned length = (unsigned)(p - text);
        crc = ~crc;
        for (unsigned i = 0; i < length; i++) {
            crc ^= (unsigned char)text[i];
            for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
        }
        crc = ~crc;
        text[r % 1000] = (char)(crc % 255 + 1);
    }
    return (int)crc;
}
