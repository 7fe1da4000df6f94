/* Writes a text of nested JSON and scans it: kinds of tokens, depth, numbers, escapes. */
static char text[1 << 16];
static int length;
static void put(const char *s) { while (*s) text[length++] = *s++; }
static void number(unsigned n) {
    char digits[12];
    int i = 0;
    do digits[i++] = (char)('0' + n % 10); while (n /= 10);
    while (i) text[length++] = digits[--i];
}
static void compose(void) {
    length = 0;
    put("[");
    for (unsigned i = 0; length < (int)sizeof text - 200; i++) {
        if (i) put(", ");
        put("{\"id\": "); number(i * 7919u);
        put(", \"name\": \"node \\\"x\\u00e6\\\" "); number(i);
        put("\", \"up\": "); put(i % 3 ? "true" : "false");
        put(", \"load\": -"); number(i % 9); put("."); number(i % 1000); put("e-2");
        put(", \"tags\": [\"a\", null, []]}\n");
    }
    put("]");
}
static unsigned scan(void) {
    unsigned sum = 0;
    int depth = 0;
    for (int i = 0; i < length;) {
        char c = text[i++];
        switch (c) {
        case ' ': case '\n': case '\t': case '\r': case ',': case ':': break;
        case '{': case '[': depth++; sum += 3; break;
        case '}': case ']': if (--depth < 0) return 0; sum ^= (unsigned)depth << 4; break;
        case '"':
            for (;;) {
                if (i >= length) return 0;
                c = text[i++];
                if (c == '"') break;
                if (c == '\\') {
                    c = text[i++];
                    if (c == 'u') {
                        unsigned code = 0;
                        for (int k = 0; k < 4; k++) {
                            c = text[i++];
                            code = code << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
                        }
                        sum += code;
                        continue;
                    }
                }
                sum = sum * 33 + (unsigned char)c;
            }
            break;
        case 't': case 'n': i += 3; sum += 11; break;
        case 'f': i += 4; sum += 13; break;
        default: {
            double value = 0, scale = 1;
            int fraction = 0;
            if (c == '-') c = text[i++];
            for (; (c >= '0' && c <= '9') || c == '.'; c = text[i++]) {
                if (c == '.') { fraction = 1; continue; }
                value = value * 10 + (c - '0');
                if (fraction) scale *= 10;
            }
            if (c == 'e') { i++; while (text[i] >= '0' && text[i] <= '9') i++; } else i--;
            sum += (unsigned)(value / scale);
        }
        }
    }
    return depth ? 0 : sum;
}
int run(int rounds) {
    compose();
    unsigned sum = 0;
    for (int r = 0; r < rounds; r++) sum = sum * 31 + scan();
    return (int)(sum & 0x7fffffff);
}
