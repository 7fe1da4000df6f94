/* Deep recursion whose depth follows from its data. */
__attribute__((noinline)) static int ackermann(int m, int n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}
int run(int n) { return ackermann(2, n) + ackermann(3, n / 100); }
