int run(int side) {
    int total = 0;
    for (int py = 0; py < side; py++)
        for (int px = 0; px < side; px++) {
            double cr = -2.0 + 2.7 * px / side, ci = -1.2 + 2.4 * py / side, zr = 0, zi = 0;
            int steps = 0;
            while (steps < 200 && zr * zr + zi * zi <= 4.0) {
                double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
                steps++;
            }
            total += steps;
        }
    return total;
}
