#define BODIES 6
static double place[BODIES][3], speed[BODIES][3], mass[BODIES];
int run(int steps) {
    for (int i = 0; i < BODIES; i++) {
        mass[i] = i ? 0.01 * i : 40;
        for (int k = 0; k < 3; k++) { place[i][k] = (i * 3 + k * 7) % 11 - 5.0 + i; speed[i][k] = i ? (k - 1) * 0.3 / i : 0; }
    }
    for (int s = 0; s < steps; s++) {
        for (int i = 0; i < BODIES; i++)
            for (int j = i + 1; j < BODIES; j++) {
                double d[3], square = 0.01;
                for (int k = 0; k < 3; k++) { d[k] = place[i][k] - place[j][k]; square += d[k] * d[k]; }
                double pull = 0.001 / (square * __builtin_sqrt(square));
                for (int k = 0; k < 3; k++) { speed[i][k] -= d[k] * mass[j] * pull; speed[j][k] += d[k] * mass[i] * pull; }
            }
        for (int i = 0; i < BODIES; i++) for (int k = 0; k < 3; k++) place[i][k] += 0.001 * speed[i][k];
    }
    double energy = 0;
    for (int i = 0; i < BODIES; i++) for (int k = 0; k < 3; k++) energy += mass[i] * speed[i][k] * speed[i][k];
    return (int)(energy * 1e6);
}
