/* panel.h: the panel layouts, pack, unpack and transpose.
 *
 * Columns are padded to a multiple of LANES and cut into panels of PANEL columns.
 * - Weight panels hold a (rows, columns) matrix: panel j, from panel_at(j) on, is a contiguous (rows, panel_width) block,
 *   the last one narrower than PANEL where columns end; padding is zero.
 * - Batch panels hold a (batch rows, columns) matrix: panel j is a contiguous (capacity, PANEL) block, so that a
 *   micro-kernel's strides are constants; columns past the padding are never read.
 */
enum {
    PANEL = TILE_VECS * VL,
    ONE_LINE = (int)TILE_VECS == (int)LANE_VECS, /* a row of a weight panel is one line, and no panel narrower */
    PACK_AHEAD = 8,  /* how many rows ahead packing asks for one, where no product hides the wait */
    MANY_ROWS = 512, /* of a panel, which is large: where the next one begins matters */
};

static int64_t padded(int64_t n) { return (n + LANES - 1) / LANES * LANES; }
static int64_t n_panels(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
static int64_t panel_width(int64_t columns, int64_t j) {
    if (ONE_LINE) return PANEL;
    int64_t rest = padded(columns) - j * PANEL;
    return rest < PANEL ? rest : PANEL;
}
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Where panel j of weight panels begins. Where a row of a panel is one line, panels of many rows lie an odd number of squares
 * apart: one row of all of them would otherwise fall into a few sets of the caches, where `rows` is a multiple of 64, and push
 * itself out of them. */
static int64_t panel_at(int64_t j, int64_t rows) {
    if (!ONE_LINE || rows < MANY_ROWS) return j * PANEL * rows;
    return j * (((rows + PANEL - 1) / PANEL) | 1) * PANEL * PANEL;
}
static int64_t weight_panels_size(int64_t rows, int64_t columns) {
    int64_t last = n_panels(columns) - 1;
    return panel_at(last, rows) + rows * panel_width(columns, last);
}

/* Copy n elements. Rows are so short that a call of memcpy, which a compiler makes of the loop, would take longer: whole panels are
 * written out. The last register of a row may begin within the one before. */
INLINE void copy_row(real *restrict to, const real *restrict from, int64_t n) {
    int64_t c = 0;
    if (n == PANEL) {
#pragma GCC unroll 4
        for (; c < PANEL; c += VL) vec_store_unaligned(to + c, vec_load_unaligned(from + c));
        return;
    }
    for (; c + VL <= n; c += VL) vec_store_unaligned(to + c, vec_load_unaligned(from + c));
    if (c == n) return;
    if (n > VL) vec_store_unaligned(to + n - VL, vec_load_unaligned(from + n - VL));
    else
        for (; c < n; c++) to[c] = from[c];
}

INLINE void ask_for_row(const real *row, int64_t n) {
    for (int64_t c = 0; c < n; c += LANES) __builtin_prefetch(row + c);
}

/* IN columns of flat rows, `columns` apart -> OUT one weight panel (rows, width), of which `valid` columns exist. `asks`: some
 * later rows are asked for. */
INLINE void pack_panel(const real *flat, int64_t rows, int64_t columns, int64_t width, int64_t valid, real *panel,
                       const int asks) {
    for (int64_t i = 0; i < rows; i++, panel += width, flat += columns) {
        if (asks) ask_for_row(flat + PACK_AHEAD * columns, valid);
        copy_row(panel, flat, valid);
        for (int64_t c = valid; c < width; c++) panel[c] = 0;
    }
}

/* Panels and rows that are packed or unpacked side by side: rows of a wide W lie pages apart, so that a line of each costs more. */
enum { SIDE_BY_SIDE = 4096 / (PANEL * (int)sizeof(real)), ROWS_TOGETHER = 8 };

/* IN flat (rows, columns) in C order -> OUT weight panels, for the panels [begin, end). */
static void pack(const real *flat, int64_t rows, int64_t columns, real *panels, int64_t begin, int64_t end) {
    for (; begin < end; begin += SIDE_BY_SIDE)
        for (int64_t i = 0; i < rows; i += ROWS_TOGETHER)
            for (int64_t j = begin; j < least(begin + SIDE_BY_SIDE, end); j++) {
                int64_t width = panel_width(columns, j), valid = least(width, columns - j * PANEL);
                pack_panel(flat + i * columns + j * PANEL, least(ROWS_TOGETHER, rows - i), columns, width, valid,
                           panels + panel_at(j, rows) + i * width, 0);
            }
}

/* IN weight panels [begin, end) -> OUT flat (rows, columns) in C order. */
static void unpack(const real *panels, int64_t rows, int64_t columns, real *flat, int64_t begin, int64_t end) {
    for (; begin < end; begin += SIDE_BY_SIDE)
        for (int64_t i = 0; i < rows; i += ROWS_TOGETHER)
            for (int64_t j = begin; j < least(begin + SIDE_BY_SIDE, end); j++) {
                int64_t width = panel_width(columns, j), valid = least(width, columns - j * PANEL);
                const real *from = panels + panel_at(j, rows) + i * width;
                real *to = flat + i * columns + j * PANEL;
                for (int64_t r = least(ROWS_TOGETHER, rows - i); r > 0; r--, from += width, to += columns)
                    copy_row(to, from, valid);
            }
}

/* Whether an element of weight panels [begin, end) is not finite; the padding is zero. */
static integer has_not_finite(const real *panels, int64_t rows, int64_t columns, int64_t begin, int64_t end) {
    integer not_finite = 0;
    for (int64_t j = begin; j < end; j++) {
        const real *panel = panels + panel_at(j, rows);
        for (int64_t i = 0; i < rows * panel_width(columns, j); i++) not_finite |= is_not_finite(panel[i]);
    }
    return not_finite;
}

/* The transpose of n registers, of their halves where LOW_HALVES is defined: log2(n) perfect shuffles in place. */
INLINE void zip_registers(vec *rows, const int n) {
    vec other[VL];
#pragma GCC unroll 4
    for (int distance = 1; distance < n; distance *= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < n / 2; i++) {
            other[2 * i] = ZIP_LOW(rows[i], rows[i + n / 2]);
            other[2 * i + 1] = ZIP_HIGH(rows[i], rows[i + n / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < n; i++) rows[i] = other[i];
    }
}

/* Transpose VL registers in place. */
INLINE void transpose_registers(vec *rows) {
#ifdef LOW_HALVES
#pragma GCC unroll 16
    for (int i = 0; i < VL / 2; i++) {
        vec low = LOW_HALVES(rows[i], rows[i + VL / 2]);
        rows[i + VL / 2] = HIGH_HALVES(rows[i], rows[i + VL / 2]);
        rows[i] = low;
    }
    zip_registers(rows, VL / 2);
    zip_registers(rows + VL / 2, VL / 2);
#else
    zip_registers(rows, VL);
#endif
}

/* The sums of VL rows of LANES, each by the tree of lanes_sum. */
INLINE void lanes_sums(const real *lanes, real *sums) {
    vec row[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) {
        vec v[LANE_VECS];
        for (int k = 0; k < LANE_VECS; k++) v[k] = vec_load(lanes + i * LANES + k * VL);
        for (int half = LANE_VECS / 2; half >= 1; half /= 2)
            for (int k = 0; k < half; k++) v[k] = v[k] + v[k + half];
        row[i] = v[0];
    }
    transpose_registers(row);
#pragma GCC unroll 4
    for (int half = VL / 2; half >= 1; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++) row[i] = row[i] + row[i + half];
    vec_store(sums, row[0]);
}

/* VL rows of batch panels, of which `valid` exist -> columns (padded columns, VL); rows that do not exist are 0. */
static void rows_to_columns(const real *rows, int64_t panel_size, int64_t valid, int64_t columns, real *to) {
    for (int64_t c = 0; c < columns; c += VL) {
        const real *from = rows + c / PANEL * panel_size + c % PANEL;
        vec block[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) block[i] = i < valid ? vec_load(from + i * PANEL) : (vec){0};
        transpose_registers(block);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) vec_store(to + (c + i) * VL, block[i]);
    }
}

/* And back; the padding becomes 0. */
static void columns_to_rows(const real *from, int64_t columns, real *rows, int64_t panel_size, int64_t valid) {
    for (int64_t c = 0; c < padded(columns); c += VL) {
        real *to = rows + c / PANEL * panel_size + c % PANEL;
        vec block[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) block[i] = c + i < columns ? vec_load(from + (c + i) * VL) : (vec){0};
        transpose_registers(block);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            if (i < valid) vec_store(to + i * PANEL, block[i]);
    }
}

/* IN weight panels of (rows, columns) -> OUT panels [begin, end) of weight panels of its transpose (columns, rows). */
static void transpose(const real *panels, int64_t rows, int64_t columns, real *transposed, int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
        int64_t out_width = panel_width(rows, p);
        real *out = transposed + panel_at(p, columns);
        for (int64_t row = 0; row < out_width; row += VL) {
            int64_t valid = least(VL, rows - p * PANEL - row); /* may be <= 0 in the padding */
            for (int64_t j = 0; j < n_panels(columns); j++) {
                int64_t width = panel_width(columns, j);
                const real *from = panels + panel_at(j, rows) + (p * PANEL + row) * width;
                int64_t end_column = least(columns - j * PANEL, width);
                for (int64_t c = 0; c < end_column; c += VL) {
                    vec block[VL];
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++) block[i] = i < valid ? vec_load(from + i * width + c) : (vec){0};
                    transpose_registers(block);
                    real *to = out + (j * PANEL + c) * out_width + row;
                    int64_t n = least(VL, end_column - c);
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        if (i < n) vec_store(to + i * out_width, block[i]);
                }
            }
        }
    }
}

/* IN batch panels (rows, columns) -> OUT weight panels [begin, end) of the transpose (columns, rows). */
static void turn_batch(const real *panels, int64_t panel_size, int64_t rows, int64_t columns, real *turned,
                       int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
        int64_t width = panel_width(rows, p);
        for (int64_t row = 0; row < width; row += VL) {
            const real *from = panels + (p * PANEL + row) * PANEL;
            int64_t valid = least(VL, rows - p * PANEL - row); /* may be <= 0 in the padding */
            for (int64_t c = 0; c < columns; c += VL) {
                const real *square = from + c / PANEL * panel_size + c % PANEL;
                real *to = turned + panel_at(p, columns) + c * width + row;
                vec block[VL];
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++) block[i] = i < valid ? vec_load(square + i * PANEL) : (vec){0};
                transpose_registers(block);
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    if (c + i < columns) vec_store(to + i * width, block[i]);
            }
        }
    }
}

/* IN a block (columns, PANEL) of which `rows` columns are wanted -> OUT its transpose, rows of a batch panel. */
static void turn_back(const real *block, int64_t rows, int64_t columns, real *panel) {
    for (int64_t row = 0; row < rows; row += VL)
        for (int64_t c = 0; c < columns; c += VL) {
            vec square[VL];
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++) square[i] = vec_load(block + (c + i) * PANEL + row);
            transpose_registers(square);
#pragma GCC unroll 16
            for (int i = 0; i < VL; i++)
                if (row + i < rows) vec_store(panel + (row + i) * PANEL + c, square[i]);
        }
}
