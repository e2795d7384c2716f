/* operand.h: from reals to what the products read, in each arrangement that they need.
 *
 * Products in float32 and float64 read the panels of reals themselves. Those in bfloat16 read operands: copies, rounded
 * once, when the values are made; parameters, gradients and slots stay reals. Of a pair of terms the odd one is added
 * first, as the CPU's instruction does it: an operand is such a pair, or in an engine without the instruction a real, and
 * those of a pair have changed places. A sum of an odd number of terms ends with a pair whose odd term is 0.
 */

/* Whether products are in bfloat16: then rows and columns go by twos. */
INLINE int rounds(const fm_task *task) { return FM_REAL_BITS == 32 && task->bfloat16; }

/* Operands that n terms of a sum take, or of a matrix. */
INLINE int64_t depth_of(int64_t n, int rounds) { return rounds ? (n + 1) / 2 * PAIR : n; }
/* The place of a term among them. */
INLINE int64_t place_of(int64_t k, int rounds) { return !rounds ? k : FM_PAIRS ? k / 2 : k ^ 1; }
/* A term that is rounded already, alone in its operand. */
INLINE operand operand_alone(real x, int64_t place, int rounds) {
    if (!FM_PAIRS || !rounds || place % 2) return x; /* the upper half of a pair, as it is */
    integer bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (integer)((uint32_t)bits >> 16);
    memcpy(&x, &bits, sizeof bits);
    return x;
}
/* n or n + 1: whole pairs. */
INLINE int64_t whole(int64_t n, int rounds) { return rounds ? (n + 1) / 2 * 2 : n; }

/* A matrix with a row for each row of the chunk. */
typedef struct batch_matrix {
    real *values; /* batch panels (capacity, columns); NULL: a tile at a time, in a buffer */
    operand
        *across; /* batch panels (capacity, depth of columns): rows that are summed over; NULL: not wanted, as below */
    operand *down; /* batch panels (depth of capacity, columns): columns that are */
} batch_matrix;

/* The elements of two registers, which follow each other in a row of values, rounded, as operands of that row. */
INLINE void store_neighbours(operand *to, vec low, vec high) {
    if (FM_PAIRS) {
        vec_store(to, neighbours(low, high));
        return;
    }
    vec a = vec_rounded(low), b = vec_rounded(high);
    vec_store(to, SWAP(a, 1));
    vec_store(to + VL, SWAP(b, 1));
}
/* Those of two rows, whose terms are summed, as operands; `stride` is from a row of operands to the next. */
INLINE void store_pairs(operand *to, int64_t stride, vec even, vec odd) {
    if (FM_PAIRS) {
        vec_store(to, pairs_of(even, odd));
        return;
    }
    vec_store(to, vec_rounded(odd));
    vec_store(to + stride, vec_rounded(even));
}

/* IN a tile of n rows PANEL apart, the first of which is an even one -> OUT its operands; see batch_matrix. */
static void round_tile(const real *from, int64_t n, int64_t width, operand *across, operand *down) {
    for (int64_t i = 0; i < n; i += 2, from += 2 * PANEL)
        for (int64_t c = 0; c < width; c += 2 * VL) {
            int pair = i + 1 < n, two = c + VL < width;
            vec zero = {0}, a = vec_load(from + c), b = two ? vec_load(from + c + VL) : zero;
            vec next_a = pair ? vec_load(from + PANEL + c) : zero,
                next_b = pair && two ? vec_load(from + PANEL + c + VL) : zero;
            if (across) store_neighbours(across + i * PANEL + c / TERMS, a, b);
            if (across && pair) store_neighbours(across + (i + 1) * PANEL + c / TERMS, next_a, next_b);
            if (down) store_pairs(down + i / TERMS * PANEL + c, PANEL, a, next_a);
            if (down && two) store_pairs(down + i / TERMS * PANEL + c + VL, PANEL, b, next_b);
        }
}

/* IN weight panels W (fan_in, fan_out), rows [row, row_end) of one panel -> OUT the same of its operands. `row` is even. */
static void round_weights(const real *W, int64_t fan_in, int64_t fan_out, int64_t panel, int64_t row, int64_t row_end,
                          operand *to) {
    int64_t width = panel_width(fan_out, panel);
    W += panel_at(panel, fan_in), to += panel_at(panel, depth_of(fan_in, 1));
    for (int64_t i = row; i < row_end; i += 2)
        for (int64_t c = 0; c < width; c += VL) {
            vec odd = i + 1 < fan_in ? vec_load(W + (i + 1) * width + c) : (vec){0};
            store_pairs(to + i / TERMS * width + c, width, vec_load(W + i * width + c), odd);
        }
}

/* And the same rows as columns of the operands of the transpose (fan_out, fan_in). `row` is a multiple of LANES. */
static void round_transposed(const real *W, int64_t fan_in, int64_t fan_out, int64_t panel, int64_t row,
                             int64_t row_end, operand *to) {
    int64_t width = panel_width(fan_out, panel), first = panel * PANEL / TERMS, depth = depth_of(fan_out, 1);
    W += panel_at(panel, fan_in);
    if (row_end == fan_in) row_end = padded(fan_in);
    for (int64_t k = row; k < row_end; k += VL) {
        operand *column = to + panel_at(k / PANEL, depth) + k % PANEL;
        int64_t stride = panel_width(fan_in, k / PANEL);
        for (int64_t c = 0; c < width; c += TERMS * VL) {
            vec block[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) {
                const real *from = W + (k + i) * width + c;
                vec zero = {0}, low = k + i < fan_in ? vec_load(from) : zero;
                vec high = FM_PAIRS && k + i < fan_in && c + VL < width ? vec_load(from + VL) : zero;
                block[i] = FM_PAIRS ? neighbours(low, high) : vec_rounded(low);
            }
            transpose_registers(block);
            int64_t at = first + c / TERMS;
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) {
                int64_t place = TERMS == 1 ? (at + i) ^ 1 : at + i;
                if (place < depth) vec_store(column + place * stride, block[i]);
            }
        }
    }
}

/* IN columns of flat rows, `columns` apart -> OUT one panel of operands, as pack_panel does it. */
static void pack_operands(const real *flat, int64_t rows, int64_t columns, int64_t width, int64_t valid, operand *panel,
                          int asks) {
    for (int64_t i = 0; i < rows; i += 2, panel += PAIR * width, flat += 2 * columns) {
        const real *odd = i + 1 < rows ? flat + columns : flat, *end = i + 1 < rows ? odd + valid : odd;
        if (asks)
            ask_for_row(flat + PACK_AHEAD * columns, valid), ask_for_row(flat + (PACK_AHEAD + 1) * columns, valid);
        for (int64_t c = 0; c < width; c += VL)
            store_pairs(panel + c, width, vec_load_up_to(flat + c, flat + valid), vec_load_up_to(odd + c, end));
    }
}

/* Whether a value of n rows PANEL apart becomes infinite in an operand. */
static integer has_infinite_operand(const real *rows, int64_t n, int64_t width) {
    ivec found = {0};
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < width; c += VL)
            found |= (ivec)vec_abs(vec_rounded(vec_load(rows + i * PANEL + c))) >= (ivec)vec_broadcast((real)INFINITY);
    integer any = 0;
    for (int i = 0; i < VL; i++) any |= found[i];
    return any != 0;
}
