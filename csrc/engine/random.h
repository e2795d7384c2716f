/* random.h: random numbers as a function of a key and a counter, with no state to keep or to order.
 *
 * Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): ten rounds of two
 * multiplications turn a counter of four words into four random words. The same words on every instruction set.
 */
enum { GROUP = 16 }; /* words of a group: those of four counters, for 16 columns */

/* x: IN counters, OUT random words, word by word; the upper half of a lane is OUT rubbish. */
INLINE void philox(wide x[4], const uint32_t key[2]) {
    uint32_t k0 = key[0], k1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
        wide p0 = wide_multiply(x[0], wide_broadcast(0xD2511F53)), p1 = wide_multiply(x[2], wide_broadcast(0xCD9E8D57));
        x[0] = (p1 >> 32) ^ x[1] ^ wide_broadcast(k0);
        x[1] = p1;
        x[2] = (p0 >> 32) ^ x[3] ^ wide_broadcast(k1);
        x[3] = p0;
    }
}

/* Words of n groups from `group` on, 16 for each in columns' order: see fm_engine.random_words. */
INLINE void random_groups(const uint32_t key[2], const uint32_t counter[3], uint32_t group, int64_t n,
                          uint32_t *words) {
    enum { COUNTERS = sizeof(wide) / 8, PIECE = COUNTERS < 4 ? COUNTERS : 4 };
    for (int64_t first = 0; first < 4 * n; first += COUNTERS) {
        wide x[4] = {wide_count() + wide_broadcast(4 * group + (uint32_t)first), wide_broadcast(counter[0]),
                     wide_broadcast(counter[1]), wide_broadcast(counter[2])};
        philox(x, key);
        wide low = wide_broadcast(0xFFFFFFFF), pairs[2] = {(x[0] & low) | x[1] << 32, (x[2] & low) | x[3] << 32};
        for (int64_t i = 0; i < COUNTERS && first + i < 4 * n; i += PIECE)
            for (int half = 0; half < 2; half++)
                memcpy(words + (first + i) / 4 * GROUP + 8 * half + (first + i) % 4 * 2, (char *)&pairs[half] + 8 * i,
                       8 * PIECE);
    }
}

static void random_words(const uint32_t key[2], const uint32_t counter[3], uint32_t group, uint32_t words[GROUP]) {
    random_groups(key, counter, group, 1, words);
}
