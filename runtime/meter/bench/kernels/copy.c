/* Loops that wait for memory: words copied in order, backwards and with a stride. */
#define WORDS (1 << 20)
static unsigned from[WORDS], to[WORDS];
int run(int rounds) {
    for (unsigned i = 0; i < WORDS; i++) from[i] = i * 2654435761u;
    unsigned sum = 0;
    for (int r = 0; r < rounds; r++) {
        unsigned volatile *target = to;
        for (unsigned i = 0; i < WORDS; i++) target[i] = from[i];
        for (unsigned i = 0; i < WORDS; i++) from[WORDS - 1 - i] = target[i];
        for (unsigned start = 0; start < 16; start++)
            for (unsigned i = start; i < WORDS; i += 16) sum += target[i];
    }
    return (int)(sum & 0x7fffffff);
}
