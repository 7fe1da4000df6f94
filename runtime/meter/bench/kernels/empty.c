/* A loop that does nothing but count, which the compiler may not take out. */
int run(int rounds) {
    int i = 0;
    while (i < rounds) {
        i++;
        __asm__ volatile("" : "+r"(i));
    }
    return i;
}
