/* gemm.h: the micro-kernels.
 *
 * One pattern for the three products: a tile of C, (rows x registers), is the sum over k = 0, 1, ... of an element of A,
 * broadcast, times a row of a panel of B; one multiply-add per element and k, in this order, whatever the tile. So C has the
 * same bits for every tile shape, blocking and instruction set with FMA. In bfloat16 k counts operands (operand.h).
 *
 *   forward          Z = A W + b      A batch panels, B weight panels of W
 *   input gradient   dA = delta Wt    A batch panels of delta, B weight panels of the transpose; or turned round:
 *                    dAt = W deltat   A weight panels of W, B weight panels of the transpose of delta
 *   weight gradient  dW = At delta    A batch panels read down the batch, B batch panels of delta
 */

typedef struct tile {
    const operand *a;       /* first element to broadcast; rows PANEL apart (weight gradient: adjacent) */
    int64_t a_panel_size;   /* elements of a batch panel of A (weight gradient: not used) */
    int64_t a_ahead;        /* product: so many elements ahead A is asked for */
    const operand *b;       /* (depth, width of B) */
    int64_t b_stride;       /* flat B: from one row to the next, ... */
    int64_t columns;        /* ... of so many columns; */
    real *packed;           /* OUT B (depth, width), for later tiles; or NULL */
    int64_t depth;          /* terms of the sum */
    uintptr_t later;        /* what is needed next and may be far away is asked for meanwhile, from here on: ... */
    uintptr_t later_step;   /* ... product: so many bytes further with each term; or 0 */
    int64_t lines;          /* ... weight gradient: so many lines, one with each term */
    const real *initial;    /* C before the sum ... */
    int64_t initial_stride; /* ... and from its row to the next; 0: the same row for all */
    real *c;                /* OUT */
    /* Weight gradient with the fused update as the epilogue: c is W, updated in registers, and dW is never stored. */
    const constants *update; /* NULL: store the sum in c */
    real *squares; /* IN/OUT (width) running sums down the columns: parameters_block.penalty; NULL: no penalty */
} tile;

typedef void microkernel(const tile *t);

enum {
    /* Terms summed at once for all rows, so that B stays in L2, which is often smaller where registers are narrower. */
    DEPTH = (1 << (FM_VECTOR_BYTES == 64 ? 18 : 17)) / (PANEL * (int)sizeof(real)),
    TOGETHER = 2048 / (PANEL * (int)sizeof(real)), /* panels packed side by side, where W is packed a part at a time */
    AHEAD = 4,       /* rows of a batch that the weight gradient asks for early: A and B together do not stay in L1 */
    LONG_SUM = 48,   /* terms, from which on what is needed next is asked for little by little */
    FLAT_DEPTH = 64, /* rows that are read at once of a flat B, at most */
    L1_BYTES = 1 << 15, /* at least, and ... */
    L1_WAY = 1 << 12,   /* ... so far apart lines fall into the same set */
};
_Static_assert(DEPTH / TOGETHER % PANEL == 0, "terms would begin within a panel of A");
_Static_assert(PANEL % (FLAT_DEPTH / 8) == 0 && FLAT_DEPTH % PANEL == 0 && PANEL % (L1_BYTES / L1_WAY) == 0,
               "terms would begin within a panel of A");

/* Whether the rows of a tile take long enough to ask for something besides: measured; not with AVX2. */
#define ASKS (FM_VECTOR_BYTES == 64)

/* A block of `tiles` tiles asks for as many later rows of B, of `width` columns, as it has terms: at most a line with each. */
INLINE void ask_for(tile *t, const operand *later, int64_t width, int64_t tiles) {
    t->later = (uintptr_t)later;
    t->later_step =
        ASKS && tiles >= TILE_VECS ? (uintptr_t)((width * (int64_t)sizeof(operand) + tiles - 1) / tiles) : 0;
}

/* C += sum_k A B: rows of A and C are PANEL apart, k runs through the panels of A. */
INLINE void product_tile(const tile *t, const int width, const int rows, const int paired) {
    vec acc[TILE_ROWS][TILE_VECS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[i][v] = vec_load(t->initial + i * t->initial_stride + v * VL);
    const operand *a = t->a, *b = t->b;
    real *c = t->c;
    uintptr_t later = t->later;
    const uintptr_t step = t->later_step;
    for (int64_t rest = t->depth; rest > 0; rest -= PANEL, a += t->a_panel_size) {
        int64_t depth = least(rest, PANEL);
        for (int64_t k = 0; k < depth; k++, b += width * VL) {
            vec row[TILE_VECS];
            /* The next panel of A may be far away. A little at a time: many at once would keep B waiting. */
            if (rows >= 4) __builtin_prefetch(a + t->a_ahead + k * rows);
            if (ASKS && rows >= 4 && step) {
                __builtin_prefetch((const void *)later, 0, 2);
                later += step;
            }
#pragma GCC unroll 4
            for (int v = 0; v < width; v++) row[v] = vec_load(b + v * VL);
#pragma GCC unroll 16
            for (int i = 0; i < rows; i++) {
                vec x = vec_broadcast(a[i * PANEL + k]);
#pragma GCC unroll 4
                for (int v = 0; v < width; v++) acc[i][v] = vec_dot(x, row[v], acc[i][v], paired);
            }
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) vec_store(c + i * PANEL + v * VL, acc[i][v]);
}

/* C += A B where B is flat: used too little to be worth packing first. One block of B, as wide as the tile, after the other;
 * with four rows or more, or the most that a tile has, the first lines of the next are asked for meanwhile. Terms are added in
 * product_tile's order; in bfloat16 rows of B, an even number, become operands on the way. */
INLINE void flat_tile(const tile *t, const int width, const int rows, const int paired) {
    const int two = FM_PAIRS && paired; /* rows of B in an operand */
    const int least_rows = TILE_ROWS < 4 ? TILE_ROWS : 4;
    const int64_t stride = t->b_stride, step = two ? 2 * stride : stride;
    for (int64_t j = 0; j < t->columns; j += width * VL) {
        real *c = t->c + j / PANEL * t->a_panel_size + j % PANEL, *packed = t->packed;
        vec acc[TILE_ROWS][TILE_VECS];
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < width; v++) acc[i][v] = vec_load(c + i * PANEL + v * VL);
        const operand *a = t->a, *b = t->b + j;
        for (int64_t rest = t->depth; rest > 0; rest -= PANEL, a += t->a_panel_size) {
            int64_t depth = least(rest, PANEL);
            for (int64_t k = 0; k < depth; k++, b += step) {
                vec row[TILE_VECS];
                const operand *from = b;
                if (paired && !two) from = k % 2 ? b - stride : b + stride; /* the odd row comes first */
#pragma GCC unroll 2
                for (int i = 0; i <= two && rows >= least_rows; i++) {
                    /* Where rows are not aligned, the first line of the next block is the last of this one. */
                    const operand *next = b + i * stride + width * VL + LANES - 1;
                    __builtin_prefetch(next, 0, 2);
                    if (width * VL > LANES) __builtin_prefetch(next + LANES, 0, 2);
                }
#pragma GCC unroll 4
                for (int v = 0; v < width; v++) {
                    row[v] = vec_load_unaligned(from + v * VL);
                    if (two) row[v] = pairs_of(row[v], vec_load_unaligned(from + stride + v * VL));
                    else if (paired) row[v] = vec_rounded(row[v]);
                }
                if (rows > 1 && packed) { /* one row alone is never the first of several tiles */
#pragma GCC unroll 4
                    for (int v = 0; v < width; v++, packed += VL) vec_store(packed, row[v]);
                }
#pragma GCC unroll 16
                for (int i = 0; i < rows; i++) {
                    vec x = vec_broadcast(a[i * PANEL + k]);
#pragma GCC unroll 4
                    for (int v = 0; v < width; v++) acc[i][v] = vec_dot(x, row[v], acc[i][v], two);
                }
            }
        }
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < width; v++) vec_store(c + i * PANEL + v * VL, acc[i][v]);
    }
}

/* The epilogues of the weight gradient, whose C has the width of a weight panel: the sums are stored, ... */
INLINE void store_sums(const tile *t, vec acc[TILE_ROWS][TILE_VECS], const int width, const int rows) {
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) vec_store(t->c + (i * width + v) * VL, acc[i][v]);
}

/* ... or update C = W, without penalty: every operation counts where the depth is 1; ... */
INLINE void update_tile(const tile *t, vec acc[TILE_ROWS][TILE_VECS], const int width, const int rows) {
    const constants p = *t->update; /* a copy: stores to c cannot change it */
    real *c = t->c;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++, c += VL) vec_store(c, fused_update(&p, vec_load(c), acc[i][v]));
}

/* ... or with it. */
INLINE void update_penalised_tile(const tile *t, vec acc[TILE_ROWS][TILE_VECS], const int width, const int rows) {
    const constants p = *t->update;
    real *c = t->c;
    vec squares[TILE_VECS];
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) squares[v] = vec_load(t->squares + v * VL);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++, c += VL)
            vec_store(c, penalised_update(&p, vec_load(c), acc[i][v], &squares[v]));
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) vec_store(t->squares + v * VL, squares[v]);
}

/* Rows of C are adjacent columns of A. */
INLINE void weight_gradient_tile(const tile *t, const int width, const int rows, const int paired) {
    vec acc[TILE_ROWS][TILE_VECS];
    const real *later = (const real *)t->later;
    int64_t lines = ASKS ? t->lines : 0;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[i][v] = vec_load(t->initial + i * t->initial_stride + v * VL);
    const operand *a = t->a, *b = t->b;
    for (int64_t k = t->depth; k > 0; k--, a += PANEL, b += PANEL) {
        vec row[TILE_VECS];
        if (lines != 0) { /* of "> 0" GCC would make two loops, both longer */
            __builtin_prefetch(later, 1);
            later += LANES, lines--;
        }
        __builtin_prefetch(a + AHEAD * PANEL);
#pragma GCC unroll 4
        for (int v = 0; v < width * VL; v += LANES) __builtin_prefetch(b + AHEAD * PANEL + v);
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) row[v] = vec_load(b + v * VL);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            vec x = vec_broadcast(a[i]);
#pragma GCC unroll 4
            for (int v = 0; v < width; v++) acc[i][v] = vec_dot(x, row[v], acc[i][v], paired);
        }
    }
    if (paired || !t->update) store_sums(t, acc, width, rows); /* whole blocks of W become pairs */
    else if (!t->squares) update_tile(t, acc, width, rows);
    else update_penalised_tile(t, acc, width, rows);
}

/* The weight gradient of one row, depth 1: an outer product that only reads and writes W, with the fused update as the
 * epilogue. Its naive twin is weight_gradient_tile. */
INLINE void outer_product(const tile *t, int64_t rows, const int width, const int penalty) {
    const constants p = *t->update;
    vec delta[TILE_VECS], squares[TILE_VECS];
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) {
        delta[v] = vec_load(t->b + v * VL);
        if (penalty) squares[v] = vec_load(t->squares + v * VL);
    }
    real *c = t->c;
    for (int64_t i = 0; i < rows; i++) {
        vec x = vec_broadcast(t->a[i]);
#pragma GCC unroll 4
        for (int v = 0; v < width; v++, c += VL) {
            vec w = vec_load(c), g = x * delta[v];
            vec_store(c, penalty ? penalised_update(&p, w, g, &squares[v]) : fused_update(&p, w, g));
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < width; v++)
        if (penalty) vec_store(t->squares + v * VL, squares[v]);
}

#define OUTER_PRODUCT(width)                                                                                           \
    static void outer_product_##width(const tile *t, int64_t rows) {                                                   \
        if (!t->squares) outer_product(t, rows, width, 0);                                                             \
        else outer_product(t, rows, width, 1);                                                                         \
    }
WIDTHS(OUTER_PRODUCT)
#define OUTER_PRODUCT_ENTRY(width) [width] = outer_product_##width,
static void (*const outer_product_kernels[])(const tile *t, int64_t rows) = {WIDTHS(OUTER_PRODUCT_ENTRY)};

/* Sums down the columns of rows PANEL apart, added to `initial`, all columns of a panel at once: one chain each. */
INLINE void column_sums(const operand *a, int64_t rows, const real *initial, real *sums, const int width,
                        const int paired) {
    vec acc[TILE_VECS], ones = vec_ones(paired);
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) acc[v] = vec_load(initial + v * VL);
    for (int64_t i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[v] = vec_dot(ones, vec_load(a + i * PANEL + v * VL), acc[v], paired);
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) vec_store(sums + v * VL, acc[v]);
}

#define COLUMN_SUMS(width)                                                                                             \
    static void column_sums_##width(const operand *a, int64_t rows, const real *initial, real *sums, int paired) {     \
        if (paired) column_sums(a, rows, initial, sums, width, 1);                                                     \
        else column_sums(a, rows, initial, sums, width, 0);                                                            \
    }
WIDTHS(COLUMN_SUMS)
#define COLUMN_SUMS_ENTRY(width) [width] = column_sums_##width,
static void (*const column_sums_kernels[])(const operand *a, int64_t rows, const real *initial, real *sums,
                                           int paired) = {WIDTHS(COLUMN_SUMS_ENTRY)};

/* C += x B for one row of B and C. Nothing is read at b_end or beyond. Whole registers of B are read: what lies behind its
 * columns goes into the padding of C. */
static void add_flat_row(real x, const real *b, const real *b_end, int64_t columns, real *c, int64_t c_panel_size) {
    for (int64_t j = 0; j < columns; j += VL) {
        real *to = c + j / PANEL * c_panel_size + j % PANEL;
        vec_store(to, vec_fma(vec_broadcast(x), vec_load_up_to(b + j, b_end), vec_load(to)));
    }
}

/* The same in bfloat16, x and b being a pair whose odd term is 0. */
static void add_flat_pairs(real x, const real *b, const real *b_end, int64_t columns, real *c, int64_t c_panel_size) {
    operand alone = operand_alone(x, 0, 1);
    for (int64_t j = 0; j < columns; j += VL) {
        real *to = c + j / PANEL * c_panel_size + j % PANEL;
        vec zero = {0}, terms = vec_load_up_to(b + j, b_end), sum = vec_load(to);
        if (!FM_PAIRS) sum = vec_fma(zero, zero, sum); /* the odd term, which makes 0 of -0 */
        vec_store(to,
                  vec_dot(vec_broadcast(alone), FM_PAIRS ? pairs_of(terms, zero) : vec_rounded(terms), sum, FM_PAIRS));
    }
}

/* C += A Bt for a few rows of A, n of their columns, and VL columns of C: so many rows of B, `stride` apart, of which `valid` exist,
 * are turned round in registers. */
INLINE void transposed_block(const real *a, int64_t rows, int64_t n, const real *b, int64_t stride, int64_t valid,
                             real *c) {
    vec block[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) block[i] = i < valid ? vec_load(b + i * stride) : (vec){0};
    transpose_registers(block);
    for (int64_t r = 0; r < rows; r++) {
        vec sum = vec_load(c + r * PANEL);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            if (i < n) sum = vec_fma(vec_broadcast(a[r * PANEL + i]), block[i], sum);
        vec_store(c + r * PANEL, sum);
    }
}

/* The same for more columns of A and `valid` columns of C, where the transpose of B would be used too little to be worth packing.
 * Terms are added in product_tile's order; sums that lie side by side do not wait for each other. */
static NOT_INLINE void transposed_columns(const real *a, int64_t rows, int64_t columns, const real *b, int64_t stride,
                                          int64_t valid, real *c, int64_t c_panel_size) {
    for (int64_t k = 0; k < columns; k += VL) {
        int64_t n = least(VL, columns - k);
        for (int64_t at = 0; at < padded(valid); at += VL) {
            const real *from = b + at * stride + k;
            real *to = c + at / PANEL * c_panel_size + at % PANEL;
            if (n == VL && valid - at >= VL) transposed_block(a + k, rows, VL, from, stride, VL, to);
            else transposed_block(a + k, rows, n, from, stride, valid - at, to);
        }
    }
}

/* C = A Bt for a few rows of A and a B of many: inner products, whose LANES are one chain each. Of B, weight panels, so many
 * rows are read together, with so many of A. */
enum { INNER_ROWS = LANE_VECS < 4 ? 4 / LANE_VECS : 1, INNER_COLUMNS = 4 };

/* Rows of B from `row` on, the last of which is `last`, with n rows of A -> lanes (n, LANES rows of B, LANES). */
INLINE void inner_products(const real *a, int64_t a_panel_size, const int n, const real *B, int64_t last,
                           int64_t columns, int64_t row, real *lanes) {
    vec sum[INNER_ROWS][INNER_COLUMNS][LANE_VECS];
    memset(sum, 0, sizeof sum);
    for (int64_t j = 0; j < n_panels(columns); j++, a += a_panel_size, B += panel_at(1, last + 1)) {
        int64_t width = panel_width(columns, j);
        const real *b[INNER_ROWS];
#pragma GCC unroll 4
        for (int i = 0; i < INNER_ROWS; i++) b[i] = B + least(row + i, last) * width;
        for (int64_t k = 0; k < width; k += LANES)
#pragma GCC unroll 4
            for (int v = 0; v < LANE_VECS; v++) {
                vec x[INNER_ROWS];
#pragma GCC unroll 4
                for (int i = 0; i < INNER_ROWS; i++) {
                    x[i] = vec_load(b[i] + k + v * VL);
                    if (v == 0) __builtin_prefetch(b[i] + k + LANES * width); /* panels are too far apart for the CPU */
                }
#pragma GCC unroll 4
                for (int r = 0; r < n; r++) {
                    vec y = vec_load(a + r * PANEL + k + v * VL);
#pragma GCC unroll 4
                    for (int i = 0; i < INNER_ROWS; i++) sum[i][r][v] = vec_fma(y, x[i], sum[i][r][v]);
                }
            }
    }
#pragma GCC unroll 4
    for (int r = 0; r < n; r++)
#pragma GCC unroll 4
        for (int i = 0; i < INNER_ROWS; i++)
#pragma GCC unroll 4
            for (int v = 0; v < LANE_VECS; v++) vec_store(lanes + (r * LANES + i) * LANES + v * VL, sum[i][r][v]);
}

/* All rows of A with LANES rows of B from `row` on -> LANES columns of C. */
static void inner_product_columns(const real *a, int64_t a_panel_size, int64_t rows, const real *B, int64_t last,
                                  int64_t columns, int64_t row, real *c) {
    _Alignas(FM_ALIGNMENT) real lanes[INNER_COLUMNS * LANES * LANES];
    for (int64_t r = 0, n; r < rows; r += n, a += n * PANEL, c += n * PANEL) {
        n = least(rows - r, INNER_COLUMNS);
        for (int64_t i = 0; i < LANES; i += INNER_ROWS) {
            real *to = lanes + i * LANES;
            if (n == 4) inner_products(a, a_panel_size, 4, B, last, columns, row + i, to);
            else if (n == 3) inner_products(a, a_panel_size, 3, B, last, columns, row + i, to);
            else if (n == 2) inner_products(a, a_panel_size, 2, B, last, columns, row + i, to);
            else inner_products(a, a_panel_size, 1, B, last, columns, row + i, to);
        }
        for (int64_t q = 0; q < n; q++)
            for (int64_t i = 0; i < LANES; i += VL) lanes_sums(lanes + (q * LANES + i) * LANES, c + q * PANEL + i);
    }
}

#define MICROKERNELS(width, rows)                                                                                      \
    static void product_##width##x##rows(const tile *t) { product_tile(t, width, rows, 0); }                           \
    static void flat_product_##width##x##rows(const tile *t) { flat_tile(t, width, rows, 0); }                         \
    static void weight_gradient_##width##x##rows(const tile *t) { weight_gradient_tile(t, width, rows, 0); }
TILES(MICROKERNELS)

#define PRODUCT_ENTRY(width, rows) [width][rows] = product_##width##x##rows,
#define FLAT_PRODUCT_ENTRY(width, rows) [width][rows] = flat_product_##width##x##rows,
#define WEIGHT_GRADIENT_ENTRY(width, rows) [width][rows] = weight_gradient_##width##x##rows,
/* Of pairs: a product computes a row more than there is where that is odd; nobody reads it. */
#define PAIRED_PRODUCT(width, rows)                                                                                    \
    static void paired_product_##width##x##rows(const tile *t) { product_tile(t, width, rows, 1); }
#define ROUNDING_PRODUCT(width, rows)                                                                                  \
    static void rounding_product_##width##x##rows(const tile *t) { flat_tile(t, width, rows, 1); }
#define PAIRED_WEIGHT_GRADIENT(width, rows)                                                                            \
    static void paired_weight_gradient_##width##x##rows(const tile *t) { weight_gradient_tile(t, width, rows, 1); }
#define PAIRED_PRODUCT_ENTRY(width, rows)                                                                              \
    [width][rows - 1] = paired_product_##width##x##rows, [width][rows] = paired_product_##width##x##rows,
#define ROUNDING_PRODUCT_ENTRY(width, rows) [width][rows] = rounding_product_##width##x##rows,
#define PAIRED_WEIGHT_GRADIENT_ENTRY(width, rows) [width][rows] = paired_weight_gradient_##width##x##rows,
EVEN_TILES(PAIRED_PRODUCT)
ROUNDING_TILES(ROUNDING_PRODUCT)
EVEN_TILES(PAIRED_WEIGHT_GRADIENT)
LOW_TILES(PAIRED_WEIGHT_GRADIENT)

/* By whether operands are pairs, registers wide, rows. */
static microkernel *const product_kernels[][TILE_VECS + 1][TILE_ROWS + 1] = {{TILES(PRODUCT_ENTRY)},
                                                                             {EVEN_TILES(PAIRED_PRODUCT_ENTRY)}};
static microkernel *const flat_product_kernels[][TILE_VECS + 1][TILE_ROWS + 1] = {
    {TILES(FLAT_PRODUCT_ENTRY)}, {ROUNDING_TILES(ROUNDING_PRODUCT_ENTRY)}};
static microkernel *const weight_gradient_kernels[][TILE_VECS + 1][TILE_ROWS + 1] = {
    {TILES(WEIGHT_GRADIENT_ENTRY)}, {EVEN_TILES(PAIRED_WEIGHT_GRADIENT_ENTRY) LOW_TILES(PAIRED_WEIGHT_GRADIENT_ENTRY)}};

/* A run of rows cut into tiles of nearly even height, rather than high ones and a low last one; in whole pairs where `pairs`
 * is 1. */
typedef struct cut {
    int32_t tiles, low, higher; /* tiles left; rows or pairs of a tile; how many of the next tiles have one more */
    int32_t pairs, rest;        /* rows left, where there are pairs */
} cut;

INLINE cut cut_rows(int64_t rows, int64_t most, int pairs) {
    int32_t n = ((int32_t)rows + pairs) >> pairs, highest = (int32_t)most >> pairs;
    if (n <= highest) return (cut){1, n, 0, pairs, (int32_t)rows};
    int32_t tiles = (n + highest - 1) / highest;
    return (cut){tiles, n / tiles, n % tiles, pairs, (int32_t)rows};
}

INLINE int64_t next_tile(cut *c) {
    int32_t n = c->low + (c->higher-- > 0);
    c->tiles--;
    if (c->pairs) {
        n = 2 * n < c->rest ? 2 * n : c->rest;
        c->rest -= n;
    }
    return n;
}

/* Operations in registers only: the peak that the percentages of a benchmark refer to. */
INLINE double dot_loop(int64_t n, const int paired) {
    vec acc[FMA_CHAINS], one = vec_ones(paired), sum = {0};
#pragma GCC unroll 16
    for (int i = 0; i < FMA_CHAINS; i++) acc[i] = vec_broadcast((real)i);
    for (; n > 0; n--)
#pragma GCC unroll 16
        for (int i = 0; i < FMA_CHAINS; i++) {
            acc[i] = vec_dot(one, one, acc[i], paired);
            KEEP_IN_REGISTER(acc[i]);
        }
#pragma GCC unroll 16
    for (int i = 0; i < FMA_CHAINS; i++) sum = sum + acc[i];
    return (double)sum[0];
}
static double fma_loop(int64_t n, int32_t bfloat16) { return FM_PAIRS && bfloat16 ? dot_loop(n, 1) : dot_loop(n, 0); }

/* What a product in bfloat16 makes of a pair: see fm_engine.dot. */
#if FM_REAL_BITS == 32
static void dot(const float a[32], const float b[32], float c[16]) {
    float_mode before = denormals_are(0);
    for (int i = 0; i < 16; i += VL) {
        _Alignas(FM_ALIGNMENT) operand x[PAIR * VL], y[PAIR * VL];
        store_neighbours(x, vec_load_unaligned(a + 2 * i), vec_load_unaligned(a + 2 * i + VL));
        store_pairs(y, VL, vec_load_unaligned(b + i), vec_load_unaligned(b + 16 + i));
        for (int lane = 0; lane < VL; lane++) {
            vec sum = vec_broadcast(c[i + lane]);
            for (int k = 0; k < PAIR; k++)
                sum = vec_dot(vec_broadcast(x[PAIR * lane + k]), vec_load(y + k * VL), sum, FM_PAIRS);
            c[i + lane] = sum[lane];
        }
    }
    denormals_back(before);
}
#else
static void (*const dot)(const float *a, const float *b, float *c) = NULL;
#endif
