/* Conway's game of life on a torus, a byte a cell. */
#define SIDE 256
static unsigned char boards[2][SIDE][SIDE];
int run(int generations) {
    unsigned seed = 5;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) { seed = seed * 1664525u + 1013904223u; boards[0][y][x] = seed >> 30 == 0; }
    for (int g = 0; g < generations; g++)
        for (int y = 0; y < SIDE; y++) {
            const unsigned char *above = boards[g & 1][(y + SIDE - 1) % SIDE], *here = boards[g & 1][y], *below = boards[g & 1][(y + 1) % SIDE];
            for (int x = 0; x < SIDE; x++) {
                int w = (x + SIDE - 1) % SIDE, e = (x + 1) % SIDE;
                int n = above[w] + above[x] + above[e] + here[w] + here[e] + below[w] + below[x] + below[e];
                boards[~g & 1][y][x] = n == 3 || (n == 2 && here[x]);
            }
        }
    int alive = 0;
    for (int y = 0; y < SIDE; y++) for (int x = 0; x < SIDE; x++) alive += boards[generations & 1][y][x];
    return alive;
}
