/* Schoolbook multiplication of numbers of 2,048 bits, folded back to that size. */
#define LIMBS 64
typedef unsigned int limb;
typedef unsigned long long wide;
static limb left[LIMBS], right[LIMBS], product[2 * LIMBS];
int run(int rounds) {
    for (unsigned i = 0; i < LIMBS; i++) { left[i] = i * 2654435761u + 1; right[i] = ~(i * 40503u) ^ i << 20; }
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < 2 * LIMBS; i++) product[i] = 0;
        for (int i = 0; i < LIMBS; i++) {
            wide carry = 0;
            for (int j = 0; j < LIMBS; j++) {
                carry += (wide)left[i] * right[j] + product[i + j];
                product[i + j] = (limb)carry;
                carry >>= 32;
            }
            product[i + LIMBS] = (limb)carry;
        }
        for (int i = 0; i < LIMBS; i++) left[i] = product[i] ^ product[i + LIMBS];
    }
    return (int)(left[LIMBS / 2] & 0x7fffffff);
}
