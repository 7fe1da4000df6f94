static unsigned char mark[1 << 22];
int run(int n) {
    if (n < 2) return 0;
    if (n > (int)sizeof mark) n = sizeof mark;
    for (int i = 0; i < n; i++) mark[i] = 0;
    int found = 0;
    for (int i = 2; i < n; i++) {
        if (mark[i]) continue;
        found++;
        for (long long j = (long long)i * i; j < n; j += i) mark[j] = 1;
    }
    return found;
}
