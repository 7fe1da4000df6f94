static int place(unsigned full, unsigned columns, unsigned up, unsigned down) {
    if (columns == full) return 1;
    int ways = 0;
    for (unsigned open = full & ~(columns | up | down); open; open &= open - 1) {
        unsigned bit = open & -open;
        ways += place(full, columns | bit, (up | bit) << 1, (down | bit) >> 1);
    }
    return ways;
}
int run(int n) { return n < 1 || n > 16 ? 0 : place((1u << n) - 1, 0, 0, 0); }
