/* operand.h: from reals to what the products read, in each arrangement that they need.
 *
 * In the engines of float32 and float64 an operand is a real, and everything here is the panel itself. In that of bfloat16 an
 * operand is two terms of a sum, rounded: parameters, gradients and slots stay reals, and what a product reads is made
 * once, when the values are. A product of an odd depth ends with a pair whose odd term is 0.
 */

/* Operands that n terms of a sum take. */
static int64_t depth_of(int64_t n) { return (n + TERMS - 1) / TERMS; }

/* A matrix with a row for each row of the chunk. */
typedef struct batch_matrix {
    real *values; /* batch panels (capacity, columns); NULL: a tile at a time, in a buffer */
    operand
        *across; /* batch panels (capacity, depth of columns): rows that are summed over; NULL: not wanted, as below */
    operand *down; /* batch panels (depth of capacity, columns): columns that are */
} batch_matrix;

#if FM_PAIRS
/* IN a tile of n rows PANEL apart, the first of which is an even one -> OUT its operands; see batch_matrix. */
static void round_tile(const real *from, int64_t n, int64_t width, operand *across, operand *down) {
    for (int64_t i = 0; i < n; i += 2, from += 2 * PANEL) {
        for (int64_t c = 0; c < width; c += 2 * VL) {
            int pair = i + 1 < n, two = c + VL < width;
            vec zero = {0}, a = vec_load(from + c), b = two ? vec_load(from + c + VL) : zero;
            vec next_a = pair ? vec_load(from + PANEL + c) : zero,
                next_b = pair && two ? vec_load(from + PANEL + c + VL) : zero;
            if (across) operand_store(across + i * PANEL + c / 2, neighbours(a, b));
            if (across && pair) operand_store(across + (i + 1) * PANEL + c / 2, neighbours(next_a, next_b));
            if (down) operand_store(down + i / 2 * PANEL + c, pairs(a, next_a));
            if (down && two) operand_store(down + i / 2 * PANEL + c + VL, pairs(b, next_b));
        }
    }
}

/* IN weight panels W (fan_in, fan_out), rows [row, row_end) of one panel -> OUT the same of its operands. `row` is even. */
static void round_weights(const real *W, int64_t fan_in, int64_t fan_out, int64_t panel, int64_t row, int64_t row_end,
                          operand *to) {
    int64_t width = panel_width(fan_out, panel);
    W += panel * PANEL * fan_in, to += panel * PANEL * depth_of(fan_in);
    for (int64_t i = row; i < row_end; i += 2)
        for (int64_t c = 0; c < width; c += VL) {
            vec odd = i + 1 < fan_in ? vec_load(W + (i + 1) * width + c) : (vec){0};
            operand_store(to + i / 2 * width + c, pairs(vec_load(W + i * width + c), odd));
        }
}

/* And the same rows as columns of the operands of the transpose (fan_out, fan_in). `row` is a multiple of VL. */
static void round_transposed(const real *W, int64_t fan_in, int64_t fan_out, int64_t panel, int64_t row,
                             int64_t row_end, operand *to) {
    int64_t width = panel_width(fan_out, panel), first = panel * PANEL / 2, depth = depth_of(fan_out);
    W += panel * PANEL * fan_in;
    if (row_end == fan_in) row_end = padded(fan_in);
    for (int64_t k = row; k < row_end; k += VL) {
        operand *column = to + k / PANEL * PANEL * depth + k % PANEL;
        int64_t stride = panel_width(fan_in, k / PANEL);
        for (int64_t c = 0; c < width; c += 2 * VL) {
            vec block[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) {
                const real *from = W + (k + i) * width + c;
                vec zero = {0}, low = k + i < fan_in ? vec_load(from) : zero;
                block[i] = neighbours(low, k + i < fan_in && c + VL < width ? vec_load(from + VL) : zero);
            }
            transpose_registers(block);
            int64_t at = first + c / 2, n = least(VL, depth - at);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                if (i < n) operand_store(column + (at + i) * stride, block[i]);
        }
    }
}

/* IN columns of flat rows, `columns` apart -> OUT one panel of operands, as pack_panel does it. */
static void pack_operands(const real *flat, int64_t rows, int64_t columns, int64_t width, int64_t valid,
                          operand *panel) {
    _Alignas(FM_ALIGNMENT) real two[2 * PANEL] = {0};
    for (int64_t i = 0; i < rows; i += 2, panel += width, flat += 2 * columns) {
        copy_row(two, flat, valid);
        if (i + 1 < rows) copy_row(two + PANEL, flat + columns, valid);
        else memset(two + PANEL, 0, PANEL * sizeof(real));
        for (int64_t c = 0; c < width; c += VL)
            operand_store(panel + c, pairs(vec_load(two + c), vec_load(two + PANEL + c)));
    }
}
#else
static void pack_operands(const real *flat, int64_t rows, int64_t columns, int64_t width, int64_t valid,
                          operand *panel) {
    pack_panel(flat, rows, columns, width, valid, panel);
}
#endif
