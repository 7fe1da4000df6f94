#define SIZE 96
static double left[SIZE][SIZE], right[SIZE][SIZE], product[SIZE][SIZE];
int run(int rounds) {
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) { left[i][j] = (i * 3 + j) % 17 * 0.25; right[i][j] = (i + j * 5) % 13 * 0.5; }
    double trace = 0;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                double sum = 0;
                for (int k = 0; k < SIZE; k++) sum += left[i][k] * right[k][j];
                product[i][j] = sum;
            }
        for (int i = 0; i < SIZE; i++) trace += product[i][i];
        left[r % SIZE][0] += 1.0;
    }
    return (int)((long long)trace & 0x7fffffff);
}
