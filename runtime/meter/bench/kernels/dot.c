/* Products of vectors, four numbers at a time. */
typedef float four __attribute__((vector_size(16)));
#define FOURS 4096
static four left[FOURS], right[FOURS];
int run(int rounds) {
    for (int i = 0; i < FOURS; i++)
        for (int k = 0; k < 4; k++) { left[i][k] = (float)((i * 4 + k) % 19); right[i][k] = (float)((i + k * 3) % 11) - 5; }
    float total = 0;
    for (int r = 0; r < rounds; r++) {
        four sum = {0, 0, 0, 0}, more = {0, 0, 0, 0};
        for (int i = 0; i < FOURS; i += 2) { sum += left[i] * right[i]; more += left[i + 1] * right[i + 1]; }
        sum += more;
        total += sum[0] + sum[1] + sum[2] + sum[3];
        left[r % FOURS][r & 3] += 1;
    }
    return (int)total & 0x7fffffff;
}
