static int values[1 << 20];
static void sort(int low, int high) {
    while (low < high) {
        int pivot = values[low + (high - low) / 2], i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot) i++;
            while (values[j] > pivot) j--;
            if (i <= j) { int keep = values[i]; values[i++] = values[j]; values[j--] = keep; }
        }
        if (j - low < high - i) { sort(low, j); low = i; } else { sort(i, high); high = j; }
    }
}
int run(int n) {
    if (n > 1 << 20) n = 1 << 20;
    unsigned seed = 12345;
    for (int i = 0; i < n; i++) { seed = seed * 1664525u + 1013904223u; values[i] = (int)(seed >> 1); }
    sort(0, n - 1);
    int sum = 0;
    for (int i = 1; i < n; i++) { if (values[i - 1] > values[i]) return -1; sum = sum * 31 + values[i]; }
    return sum;
}
