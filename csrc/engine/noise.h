/* noise.h: dropout, and normal noise on inputs, as functions of (seed, step, layer, row of the batch, unit) alone.
 *
 * The counter of a number is (group of 16 units and which of its four blocks, row, stream, step), its key the seed.
 */
enum { INPUT_NOISE = 1 << 30 }; /* stream of the noise; dropout of layer l's inputs has the stream l */

/* Dropout of one layer's inputs in one step. */
typedef struct drop {
    uint32_t key[2], stream, step;
    integer threshold; /* units whose word, a signed number, is below it are dropped */
    real left, scale;  /* share that is left, and its inverse */
} drop;

static drop new_drop(uint64_t seed, int64_t step, int64_t layer, double share) {
    double threshold = share * 0x1p32 - 0x1p31;
    return (drop){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                  .stream = (uint32_t)layer,
                  .step = (uint32_t)step,
                  .threshold = (integer)(threshold < 0x1.fffffffcp30 ? threshold : 0x1.fffffffcp30),
                  .left = (real)(1 - share),
                  .scale = (real)(1 / (1 - share))};
}

/* What is left is scaled; what is dropped becomes -0.0, which no other value is, so that the way back need not draw again.
 * `row` and `column` are of the tile's first element in its batch. */
static void drop_tile(const drop *dropping, int64_t row, int64_t column, real *a, int64_t rows, int64_t width) {
    const drop d = *dropping; /* a copy: stores to a cannot change it */
    _Alignas(FM_ALIGNMENT) uint32_t words[BLOCK];
    vec scale = vec_broadcast(d.scale), zero = {0}, mark = vec_broadcast((real)-0.0);
    ivec threshold = ivec_broadcast(d.threshold);
    for (int64_t first = column / GROUP * GROUP; first < column + width; first += BLOCK) {
        int64_t begin = first < column ? column : first, end = least(first + BLOCK, column + width);
        for (int64_t i = 0; i < rows; i++) {
            const uint32_t counter[3] = {(uint32_t)(row + i), d.stream, d.step};
            random_block(d.key, counter, (uint32_t)(first / GROUP), words);
            for (int64_t c = begin; c < end; c += VL) {
                real *at = a + i * PANEL + c - column;
                ivec stays = words_to_integers(words + c - first) >= threshold;
                vec_store(at, vec_select(stays, vec_fma(vec_load(at), scale, zero), mark));
            }
        }
    }
}

INLINE ivec is_dropped(vec a) { return (ivec)a == (ivec)vec_broadcast((real)-0.0); }

/* Two independent normal numbers for each pair of words: Box and Muller 1958. */
INLINE void normal_numbers(const uint32_t *radii, const uint32_t *angles, vec *first, vec *second) {
    vec u = vec_fma(words_to_reals(radii), vec_broadcast((real)0x1p-32), vec_broadcast((real)0.5));
    vec radius = vec_log(vec_max(u, vec_broadcast((real)0x1p-33))) * vec_broadcast((real)-2), sine, cosine;
    radius = vec_sqrt(vec_max(radius, (vec){0}));
    vec_sin_cos(words_to_reals(angles) * vec_broadcast((real)0x1p-30), &sine, &cosine);
    *first = radius * cosine, *second = radius * sine;
}

/* To a row of batch panels: columns c and c + 16 of each 32 come from words c of two groups. */
static void add_noise(uint64_t seed, int64_t step, int64_t row, double deviation, int64_t columns, real *x,
                      int64_t panel_size) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[3] = {(uint32_t)row, INPUT_NOISE, (uint32_t)step};
    for (int64_t begin = 0; begin < columns; begin += 2 * GROUP) {
        _Alignas(FM_ALIGNMENT) uint32_t words[2 * GROUP];
        for (int64_t w = 0; w < 2 * GROUP; w += BLOCK)
            random_block(key, counter, (uint32_t)((begin + w) / GROUP), words + w);
        for (int64_t c = begin; c < begin + GROUP; c += VL) {
            vec numbers[2];
            normal_numbers(words + c - begin, words + GROUP + c - begin, &numbers[0], &numbers[1]);
            for (int half = 0; half < 2; half++) {
                int64_t column = c + half * GROUP;
                real *at = x + column / PANEL * panel_size + column % PANEL;
                if (column < columns)
                    vec_store(at, vec_fma(numbers[half], vec_broadcast((real)deviation), vec_load(at)));
            }
        }
    }
}
