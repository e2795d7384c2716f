/* random.h: random numbers as a function of a key and a counter, with no state to keep or to order.
 *
 * Philox 4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): ten rounds of two
 * multiplications turn a counter of four words into four random words. The same words on every instruction set.
 */
enum {
    GROUP = 16,                                          /* words of a group: those of four counters, for 16 columns */
    COUNTERS = sizeof(wide) / 8,                         /* of a register */
    BLOCK = 4 * COUNTERS > GROUP ? 4 * COUNTERS : GROUP, /* words that are computed together: one group or two */
};

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

/* Words of the groups from `group` on that a block has, 16 for each in columns' order: see fm_engine.random_words. Whole
 * registers are stored, so that whole registers can be loaded at once. */
INLINE void random_block(const uint32_t key[2], const uint32_t counter[3], uint32_t group, uint32_t words[BLOCK]) {
    for (int first = 0; first < BLOCK / 4; first += COUNTERS) {
        wide x[4] = {wide_count() + wide_broadcast(4 * group + (uint32_t)first), wide_broadcast(counter[0]),
                     wide_broadcast(counter[1]), wide_broadcast(counter[2])};
        philox(x, key);
        wide low = wide_broadcast(0xFFFFFFFF), a = (x[0] & low) | x[1] << 32, b = (x[2] & low) | x[3] << 32;
        if (COUNTERS <= 4) wide_store(words + 2 * first, a), wide_store(words + 2 * first + GROUP / 2, b);
        else wide_store(words, LOWER_HALVES(a, b)), wide_store(words + GROUP, UPPER_HALVES(a, b));
    }
}

static void random_words(const uint32_t key[2], const uint32_t counter[3], uint32_t group, uint32_t words[GROUP]) {
    uint32_t block[BLOCK];
    random_block(key, counter, group, block);
    memcpy(words, block, GROUP * sizeof *words);
}
