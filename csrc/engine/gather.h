/* gather.h: rows of X and Y (float32, float64, uint8, CSR), through the order of use, into batch panels and operands. */

/* Rows that go through the network together: a batch, or a part of one. */
typedef struct chunk {
    int64_t first, rows; /* in the order of use */
    int64_t place;       /* of its first row in the batch */
    int64_t step;        /* updates before that of the batch */
    double weight_scale; /* power of two that the weights of the batch are multiplied with, so that reals hold them */
} chunk;

/* Dropout of the inputs of layer l, or NULL. */
INLINE const drop *drop_of(const fm_task *task, int64_t l, const chunk *c, drop *to) {
    if (task->job != FM_TRAIN || !task->dropout || task->dropout[l] == 0) return NULL;
    *to = new_drop(task->seed, c->step, l, task->dropout[l]);
    return to;
}

INLINE int64_t source_row(const int64_t *order, int64_t row) { return order ? order[row] : row; }

/* A dense row of n columns of any dtype -> row `to` of batch panels; returns 0 when all values are finite, where it looks:
 * for predictions, since of a training the loss tells. */
typedef integer row_conversion(const void *row, int64_t n, real *to, int64_t panel_size);
#define CONVERT_ROW(type, is_real)                                                                                     \
    INLINE integer convert_##type(const type *from, int64_t n, real *to, int64_t panel_size, const int looks) {        \
        integer not_finite = 0;                                                                                        \
        for (; n > 0; n -= PANEL, from += PANEL, to += panel_size) {                                                   \
            int64_t width = least(n, PANEL);                                                                           \
            if (is_real && !looks) copy_row(to, (const real *)from, width);                                            \
            for (int64_t c = 0; c < width && (looks || !(is_real)); c++) {                                             \
                to[c] = (real)from[c];                                                                                 \
                if (looks) not_finite |= is_not_finite(to[c]);                                                         \
            }                                                                                                          \
        }                                                                                                              \
        return not_finite;                                                                                             \
    }                                                                                                                  \
    static integer convert_row_##type(const void *row, int64_t n, real *to, int64_t panel_size) {                      \
        return convert_##type(row, n, to, panel_size, 0);                                                              \
    }                                                                                                                  \
    static integer look_at_row_##type(const void *row, int64_t n, real *to, int64_t panel_size) {                      \
        return convert_##type(row, n, to, panel_size, 1);                                                              \
    }
CONVERT_ROW(float, FM_REAL_BITS == 32)
CONVERT_ROW(double, FM_REAL_BITS == 64)
CONVERT_ROW(uint8_t, 0)

static const struct {
    row_conversion *convert[2]; /* without looking, and with it */
    int64_t bytes;
} dtypes[] = {[FM_FLOAT32] = {{convert_row_float, look_at_row_float}, sizeof(float)},
              [FM_FLOAT64] = {{convert_row_double, look_at_row_double}, sizeof(double)},
              [FM_UINT8] = {{convert_row_uint8_t, look_at_row_uint8_t}, 1}};

/* Rows [begin, end) of the chunk that starts at `first` -> the batch panels `to`; returns 0 when all values of a prediction
 * are finite, as below; in bfloat16 their operands tell. */
static integer gather(const network *net, int64_t first, int64_t begin, int64_t end, real *to, int64_t panel_size) {
    const fm_task *task = net->task;
    const fm_matrix X = task->X; /* these are copies, or each call through a pointer would have them read again */
    const int64_t *order = task->order, *classes = task->classes, n_rows = task->n_rows;
    int looks = task->job == FM_PREDICT && !rounds(task);
    row_conversion *convert = dtypes[X.dtype].convert[looks];
    int64_t bytes = X.n_columns * dtypes[X.dtype].bytes;
    /* The next rows lie anywhere in memory: prefetch, a page of them ahead, into the next batch too. */
    int64_t ahead = 2 + 4096 / bytes;
    integer not_finite = 0;
    for (int64_t i = first + begin; i < first + end; i++, to += PANEL) {
        if (order && i + ahead < n_rows) {
            const char *next = (const char *)X.data + order[i + ahead] * X.row_stride;
            for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(next + byte);
            if (classes) __builtin_prefetch(classes + order[i + ahead]);
        }
        const char *row = (const char *)X.data + source_row(order, i) * X.row_stride;
        not_finite |= convert(row, X.n_columns, to, panel_size);
    }
    return not_finite;
}

/* Targets of `valid` rows of the chunk from row i on -> columns (n_outputs, VL): values, or class numbers as one-hot. */
static void gather_targets(const network *net, int64_t first, int64_t i, int64_t valid, real *rows, real *columns) {
    const fm_task *task = net->task;
    const fm_matrix *Y = &task->Y;
    int64_t n_outputs = task->n_units[net->n_layers];
    if (!task->classes) {
        for (int64_t r = 0; r < valid; r++) {
            const char *row = (const char *)Y->data + source_row(task->order, first + i + r) * Y->row_stride;
            dtypes[Y->dtype].convert[0](row, n_outputs, rows + r * PANEL, VL * PANEL);
        }
        rows_to_columns(rows, VL * PANEL, valid, n_outputs, columns);
        return;
    }
    _Alignas(FM_ALIGNMENT) integer classes[VL] = {0};
    for (int64_t r = 0; r < valid; r++) classes[r] = (integer)task->classes[source_row(task->order, first + i + r)];
    ivec class = *(const ivec *)classes;
    if (n_outputs == 1) class = class ^ 1; /* the one output is the number itself: 1 for class 1 */
    for (int64_t k = 0; k < n_outputs; k++) {
        ivec is_k = class == ivec_broadcast((integer)k);
        vec_store(columns + k * VL, vec_select(is_k, vec_broadcast((real)1), (vec){0}));
    }
}

static real row_weight(const fm_task *task, int64_t row, double scale) {
    return task->sample_weight ? (real)(task->sample_weight[source_row(task->order, row)] * scale) : 1;
}

/* Sum of the weights of n rows from `first` on. */
static double weight_sum(const fm_task *task, int64_t first, int64_t n) {
    if (!task->sample_weight) return (double)n;
    double sum = 0;
    for (int64_t i = first; i < first + n; i++) sum += task->sample_weight[source_row(task->order, i)];
    return sum;
}

/* Weights that float32 cannot hold, or squares of gradients of their size, are moved by a power of two; 1 for all usual
 * ones. */
static double weight_scale(double sum) {
    if (sum == 0 || (sum > 0x1p-20 && sum < 0x1p20)) return 1;
    int exponent;
    frexp(sum, &exponent);
    return ldexp(1, exponent < -1000 ? 1000 : exponent > 1000 ? -1000 : -exponent);
}

/* -- CSR -- */

INLINE int64_t csr_index(const void *indices, int32_t bytes, int64_t i) {
    return bytes == 4 ? ((const int32_t *)indices)[i] : ((const int64_t *)indices)[i];
}

INLINE real csr_value(const fm_matrix *m, int64_t i) {
    switch (m->dtype) {
    case FM_FLOAT32: return (real)((const float *)m->data)[i];
    case FM_FLOAT64: return (real)((const double *)m->data)[i];
    default: return (real)((const uint8_t *)m->data)[i];
    }
}

/* CSR rows [begin, end) of the chunk -> batch panels. */
static integer gather_csr_as_dense(const network *net, int64_t first, int64_t begin, int64_t end, real *to,
                                   int64_t panel_size) {
    const fm_matrix *m = &net->task->X;
    integer not_finite = 0;
    for (int64_t i = begin; i < end; i++, to += PANEL) {
        int64_t row = source_row(net->task->order, first + i);
        for (int64_t j = 0; j < n_panels(m->n_columns); j++)
            memset(to + j * panel_size, 0, (size_t)panel_width(m->n_columns, j) * sizeof(real));
        int64_t k = csr_index(m->indptr, m->index_bytes, row), last = csr_index(m->indptr, m->index_bytes, row + 1);
        for (; k < last; k++) {
            int64_t column = csr_index(m->indices, m->index_bytes, k);
            real value = csr_value(m, k);
            to[column / PANEL * panel_size + column % PANEL] = value;
            not_finite |= is_not_finite(value);
        }
    }
    return not_finite;
}

/* By row -> by column: a counting sort, which keeps the rows of a column in the order of sums. IN column_start[j + 2]: the
 * number of values of column j. */
static void sort_by_column(const sparse_rows *x, int64_t rows, int64_t n_columns) {
    /* next[j] is where the next value of column j goes; when all are placed it is where column j ends and j + 1 begins. */
    int64_t *next = x->column_start + 1, sum = 0;
    for (int64_t j = 0; j < n_columns; j++) next[j] = sum += next[j];
    for (int64_t n = 0; n < whole(rows, x->rounds); n++) {
        int64_t i = n ^ x->rounds; /* of a pair the odd one first */
        if (i >= rows) continue;
        for (int64_t k = x->row_start[i]; k < x->row_start[i + 1]; k++) {
            int64_t to = next[x->column[k]]++;
            x->row[to] = (int32_t)i;
            x->row_value[to] = x->value[k];
        }
    }
}

/* The values of one row, rounded and in the order of sums; returns 0 when all of them are finite. */
static integer order_terms(int32_t *column, real *value, int64_t n) {
    integer not_finite = 0;
    for (int64_t k = 0; k < n; k++) {
        value[k] = vec_rounded(vec_broadcast(value[k]))[0];
        not_finite |= is_not_finite(value[k]);
    }
    for (int64_t k = 0; k + 1 < n; k++) {
        if (column[k] % 2 || column[k + 1] != column[k] + 1) continue;
        real first = value[k];
        value[k] = value[k + 1], value[k + 1] = first;
        column[k]++, column[k + 1]--;
    }
    return not_finite;
}

/* Dropout of the values of one row, as drop_tile does it; `row` is its place in the batch. */
static void drop_values(const drop *d, int64_t row, const int32_t *column, real *value, int64_t n) {
    const uint32_t counter[3] = {(uint32_t)row, d->stream, d->step};
    int64_t group = -1;
    uint32_t words[GROUP];
    for (int64_t k = 0; k < n; k++) {
        if (column[k] / GROUP != group) random_words(d->key, counter, (uint32_t)(group = column[k] / GROUP), words);
        value[k] = (int32_t)words[column[k] % GROUP] >= d->threshold ? value[k] * d->scale : 0;
    }
}

/* The rows of the chunk, converted; by column too where there is training. */
static integer gather_sparse(const network *net, const chunk *c) {
    const fm_matrix *m = &net->task->X;
    const sparse_rows *x = &net->sparse;
    integer not_finite = 0;
    drop drop_inputs;
    const drop *dropping = drop_of(net->task, 0, c, &drop_inputs);
    int64_t n = 0, *count = x->column_start ? x->column_start + 2 : NULL;
    if (count) memset(x->column_start, 0, (size_t)(m->n_columns + 2) * sizeof(int64_t));
    x->row_start[0] = 0;
    for (int64_t i = 0; i < c->rows; i++) {
        int64_t row = source_row(net->task->order, c->first + i);
        int64_t k = csr_index(m->indptr, m->index_bytes, row), end = csr_index(m->indptr, m->index_bytes, row + 1);
        for (; k < end; k++, n++) {
            int64_t column = csr_index(m->indices, m->index_bytes, k);
            x->column[n] = (int32_t)column;
            x->value[n] = csr_value(m, k);
            not_finite |= is_not_finite(x->value[n]);
            if (count) count[column]++;
        }
        x->row_start[i + 1] = n;
        if (dropping)
            drop_values(dropping, c->place + i, x->column + x->row_start[i], x->value + x->row_start[i],
                        n - x->row_start[i]);
        if (x->rounds)
            not_finite |= order_terms(x->column + x->row_start[i], x->value + x->row_start[i], n - x->row_start[i]);
    }
    if (count) sort_by_column(x, c->rows, m->n_columns);
    return not_finite;
}

/* -- rows of a chunk -- */

/* Noise and dropout of the inputs, rows [begin, end) of the chunk, which are the batch panels x. */
static void disturb(const network *net, const chunk *c, int64_t begin, int64_t end, real *x, int64_t panel_size) {
    const fm_task *task = net->task;
    int64_t columns = task->n_units[0];
    drop drop_inputs;
    const drop *dropping = drop_of(task, 0, c, &drop_inputs);
    for (int64_t i = begin; i < end && task->input_noise > 0; i++)
        add_noise(task->seed, c->step, c->place + i, task->input_noise, columns, x + (i - begin) * PANEL, panel_size);
    for (int64_t j = 0; j < n_panels(columns) && dropping; j++)
        drop_tile(dropping, c->place + begin, j * PANEL, x + j * panel_size, end - begin, panel_width(columns, j));
}

/* Rows [begin, end) of the chunk -> the batch panels x; returns 0 as above. */
static integer gather_rows(const network *net, const chunk *c, int64_t begin, int64_t end, real *x,
                           int64_t panel_size) {
    integer not_finite = net->task->X.indices ? gather_csr_as_dense(net, c->first, begin, end, x, panel_size)
                                              : gather(net, c->first, begin, end, x, panel_size);
    disturb(net, c, begin, end, x, panel_size);
    return not_finite;
}

/* The same in bfloat16: two rows at a time become operands, while they are in the cache. */
static integer gather_operands(const network *net, const chunk *c, int64_t begin, int64_t end, real *x) {
    int64_t columns = net->task->n_units[0], panel_size = 2 * PANEL, last = (n_panels(columns) - 1) * panel_size;
    integer not_finite = 0;
    int predicts = net->task->job == FM_PREDICT;
    memset(x + last, 0, (size_t)panel_size * sizeof(real)); /* what is behind the columns could be NaN */
    for (int64_t i = begin; i < end; i += 2) {
        int64_t n = least(2, end - i);
        not_finite |= gather_rows(net, c, i, i + n, x, panel_size);
        for (int64_t j = 0; j < n_panels(columns); j++) {
            int64_t width = panel_width(columns, j);
            if (predicts) not_finite |= has_infinite_operand(x + j * panel_size, n, width);
            keep_operands(net, &net->X, x + j * panel_size, i, j, n, width);
        }
    }
    return not_finite;
}

/* My rows of the chunk. */
static integer gather_chunk(const network *net, const chunk *c, real *staging, const team *crew, int32_t thread) {
    int pairs = rounds(net->task);
    int64_t begin, end;
    if (!net->X.across) return thread == 0 ? gather_sparse(net, c) : 0;
    team_share(crew, thread, (c->rows + pairs) >> pairs, &begin, &end);
    begin <<= pairs, end = least(end << pairs, c->rows);
    if (pairs) return gather_operands(net, c, begin, end, staging);
    return gather_rows(net, c, begin, end, net->X.values + begin * PANEL, net->capacity * PANEL);
}
