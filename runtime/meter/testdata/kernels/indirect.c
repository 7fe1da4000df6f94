typedef unsigned (*step)(unsigned);
static unsigned plus(unsigned x) { return x + 0x9e3779b9u; }
static unsigned turn(unsigned x) { return x << 7 | x >> 25; }
static unsigned times(unsigned x) { return x * 2654435761u; }
static unsigned flip(unsigned x) { return ~x; }
static unsigned fold(unsigned x) { return x ^ x >> 15; }
static unsigned minus(unsigned x) { return x - 0x1234567u; }
static step volatile steps[8] = {plus, turn, times, flip, fold, minus, times, turn};
int run(int n) {
    unsigned x = 1;
    for (int i = 0; i < n; i++) x = steps[(x >> 3 ^ (unsigned)i) & 7](x);
    return (int)x;
}
