/* sparse.h: the products of a CSR layer 0, over the non-zeros only; the same multiply-adds in the same order as gemm.h. */

/* The rows of one chunk, by row for the forward product and by column for the weight gradient. */
typedef struct sparse_rows {
    int64_t *row_start;    /* (capacity + 1,) offsets of the rows in column and value */
    int32_t *column;       /* (non-zeros,) ascending within a row, but for pairs that change places */
    real *value;           /* (non-zeros,) */
    int64_t *column_start; /* (columns + 2,) offsets of the columns in row and row_value; NULL for predict, as below */
    int32_t *row;          /* (non-zeros,) ascending within a column, but for the same */
    real *row_value;       /* (non-zeros,) */
    int32_t rounds;        /* products are in bfloat16 */
} sparse_rows;

/* Row i of Z over the width of one panel, into c: W as in a tile, initial the bias. */
INLINE void sparse_product_row(const sparse_rows *x, int64_t i, const tile *t, real *c, const int width) {
    vec acc[TILE_VECS];
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) acc[v] = vec_load(t->initial + v * VL);
    for (int64_t k = x->row_start[i], end = x->row_start[i + 1]; k < end; k++) {
        const operand *w = t->b + place_of(x->column[k], x->rounds) * (width * VL);
        vec value = vec_broadcast(operand_alone(x->value[k], x->column[k], x->rounds));
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[v] = vec_dot(value, vec_load(w + v * VL), acc[v], x->rounds);
    }
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) vec_store(c + v * VL, acc[v]);
}

/* Rows [first, first + rows) of dW over the width of one panel, from the columns of x; initial, c, update and squares
 * as in a tile of the weight gradient. */
INLINE void sparse_weight_gradient(const sparse_rows *x, int64_t first, int64_t rows, const tile *t, const int width) {
    const constants p = t->update ? *t->update : (constants){0};
    real *c = t->c;
    const real *initial = t->initial;
    for (int64_t i = first; i < first + rows; i++, c += width * VL, initial += t->initial_stride) {
        int64_t k = x->column_start[i], end = x->column_start[i + 1];
        if (k == end && t->update && !t->squares) continue; /* nothing to learn, no penalty, no decay */
        vec acc[TILE_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[v] = vec_load(initial + v * VL);
        for (; k < end; k++) {
            const operand *delta = t->b + place_of(x->row[k], x->rounds) * PANEL;
            vec value = vec_broadcast(operand_alone(x->row_value[k], x->row[k], x->rounds));
#pragma GCC unroll 4
            for (int v = 0; v < width; v++) acc[v] = vec_dot(value, vec_load(delta + v * VL), acc[v], x->rounds);
        }
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) {
            if (t->update) {
                vec w = vec_load(c + v * VL), sum = {0};
                if (t->squares) sum = vec_load(t->squares + v * VL);
                if (!t->squares) acc[v] = fused_update(&p, w, acc[v]);
                else acc[v] = penalised_update(&p, w, acc[v], &sum);
                if (t->squares) vec_store(t->squares + v * VL, sum);
            }
            vec_store(c + v * VL, acc[v]);
        }
    }
}

#define SPARSE_KERNELS(width)                                                                                          \
    static void sparse_product_##width(const sparse_rows *x, int64_t first, int64_t rows, const tile *t) {             \
        for (int64_t i = 0; i < rows; i++) sparse_product_row(x, first + i, t, t->c + i * PANEL, width);               \
    }                                                                                                                  \
    static void sparse_weight_gradient_##width(const sparse_rows *x, int64_t first, int64_t rows, const tile *t) {     \
        sparse_weight_gradient(x, first, rows, t, width);                                                              \
    }
WIDTHS(SPARSE_KERNELS)

typedef void sparse_kernel(const sparse_rows *x, int64_t first, int64_t rows, const tile *t);
#define SPARSE_PRODUCT_ENTRY(width) [width] = sparse_product_##width,
static sparse_kernel *const sparse_product_kernels[] = {WIDTHS(SPARSE_PRODUCT_ENTRY)};
#define SPARSE_WEIGHT_GRADIENT_ENTRY(width) [width] = sparse_weight_gradient_##width,
static sparse_kernel *const sparse_weight_gradient_kernels[] = {WIDTHS(SPARSE_WEIGHT_GRADIENT_ENTRY)};
