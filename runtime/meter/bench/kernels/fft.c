/* Fast Fourier transforms there and back; roots of unity by squaring and by products. */
#define BITS 11
#define SIZE (1 << BITS)
static double re[SIZE], im[SIZE], rootRe[SIZE], rootIm[SIZE];
static void roots(void) {
    double c = -1, s = 0;
    rootRe[0] = 1;
    rootIm[0] = 0;
    for (int step = SIZE / 2; step; step /= 2) {
        for (int i = 0; i < SIZE; i += 2 * step) {
            rootRe[i + step] = rootRe[i] * c - rootIm[i] * s;
            rootIm[i + step] = rootRe[i] * s + rootIm[i] * c;
        }
        double half = __builtin_sqrt((1 + c) / 2);
        s = step == SIZE / 2 ? 1 : s / (2 * half);
        c = half;
    }
}
static void transform(int back) {
    for (int i = 1, j = 0; i < SIZE; i++) {
        int bit = SIZE >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            double keep = re[i]; re[i] = re[j]; re[j] = keep;
            keep = im[i]; im[i] = im[j]; im[j] = keep;
        }
    }
    for (int size = 2; size <= SIZE; size *= 2)
        for (int i = 0; i < SIZE; i += size)
            for (int k = 0; k < size / 2; k++) {
                int root = k * (SIZE / size), a = i + k, b = a + size / 2;
                double c = rootRe[root], s = back ? -rootIm[root] : rootIm[root];
                double x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
                re[b] = re[a] - x; im[b] = im[a] - y;
                re[a] += x; im[a] += y;
            }
}
int run(int rounds) {
    roots();
    for (int i = 0; i < SIZE; i++) { re[i] = i % 37 - 18; im[i] = 0; }
    for (int r = 0; r < rounds; r++) {
        transform(0);
        transform(1);
        for (int i = 0; i < SIZE; i++) { re[i] /= SIZE; im[i] /= SIZE; }
    }
    int wrong = 0;
    for (int i = 0; i < SIZE; i++) {
        double off = re[i] - (i % 37 - 18);
        if (off > 1e-6 || off < -1e-6) wrong++;
    }
    return wrong;
}
