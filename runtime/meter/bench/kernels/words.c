/* Counts words in a table keyed by strings, with open addressing. */
#define SLOTS 8192
static char text[1 << 17];
static struct { const char *word; int length, count; unsigned hash; } slots[SLOTS];
static void compose(void) {
    unsigned seed = 23;
    for (unsigned i = 0; i < sizeof text;) {
        seed = seed * 1664525u + 1013904223u;
        unsigned word = seed >> 16 & 4095;
        for (unsigned k = 0; k < 3 + word % 5 && i < sizeof text - 1; k++) { text[i++] = (char)('a' + word % 26); word = word / 3 + k * 5; }
        text[i++] = ' ';
    }
}
int run(int rounds) {
    compose();
    int different = 0, most = 0;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < SLOTS; i++) { slots[i].word = 0; slots[i].count = 0; }
        different = most = 0;
        for (int i = 0; i < (int)sizeof text;) {
            int start = i;
            unsigned hash = 2166136261u;
            while (i < (int)sizeof text && text[i] != ' ') hash = (hash ^ (unsigned char)text[i++]) * 16777619u;
            int length = i++ - start;
            if (!length) continue;
            unsigned at = hash % SLOTS;
            for (;; at = (at + 1) % SLOTS) {
                if (!slots[at].word) {
                    slots[at].word = text + start;
                    slots[at].length = length;
                    slots[at].hash = hash;
                    different++;
                    break;
                }
                if (slots[at].hash != hash || slots[at].length != length) continue;
                int k = 0;
                while (k < length && slots[at].word[k] == text[start + k]) k++;
                if (k == length) break;
            }
            if (++slots[at].count > most) most = slots[at].count;
        }
    }
    return different * 10000 + most;
}
