/* The distance of two texts, by a table of two rows. */
#define LENGTH 800
static unsigned char left[LENGTH], right[LENGTH];
static int rows[2][LENGTH + 1];
int run(int rounds) {
    unsigned seed = 17;
    int total = 0;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < LENGTH; i++) {
            seed = seed * 1664525u + 1013904223u;
            left[i] = (unsigned char)(seed >> 28);
            right[i] = (unsigned char)(seed >> 20 & 15);
        }
        for (int j = 0; j <= LENGTH; j++) rows[0][j] = j;
        for (int i = 1; i <= LENGTH; i++) {
            int *above = rows[(i - 1) & 1], *here = rows[i & 1];
            here[0] = i;
            for (int j = 1; j <= LENGTH; j++) {
                int best = above[j - 1] + (left[i - 1] != right[j - 1]);
                if (above[j] + 1 < best) best = above[j] + 1;
                if (here[j - 1] + 1 < best) best = here[j - 1] + 1;
                here[j] = best;
            }
        }
        total += rows[LENGTH & 1][LENGTH];
    }
    return total;
}
