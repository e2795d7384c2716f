/* network.h: forward and backward over the layers, each function the share of one thread.
 *
 * Work is cut into blocks: (panel of columns) x (block of rows), numbered down the columns first, and each thread takes a
 * contiguous share: wide layers split by weight columns, which stay in their owner's cache, narrow ones by rows.
 */

typedef struct blocks {
    int64_t next, end;    /* numbers of the blocks of this thread */
    int64_t rows, height; /* rows in all, rows of a block */
    int64_t panel, row, row_end; /* OUT of next_block */
} blocks;

static blocks my_blocks(const team *t, int32_t thread, int64_t panels, int64_t rows, int64_t height) {
    blocks b = {.rows = rows, .height = height};
    team_share(t, thread, panels * ((rows + height - 1) / height), &b.next, &b.end);
    return b;
}

static int next_block(blocks *b) {
    if (b->next >= b->end) return 0;
    int64_t per_panel = (b->rows + b->height - 1) / b->height;
    b->panel = b->next / per_panel;
    b->row = b->next++ % per_panel * b->height;
    b->row_end = least(b->row + b->height, b->rows);
    return 1;
}

/* Batch rows of a block: all of them for one thread, else a multiple of every tile's rows. */
static int64_t batch_block(const team *t, int64_t rows) { return t->n_threads == 1 ? rows : 48; }

/* Row i of the chunk at `first` of CSR layer 0: Z = x W + b over the panel's columns, non-zeros only. */
INLINE void csr_product_row(const network *net, const layer *y, int64_t panel, int64_t first, int64_t i, const int width) {
    const fm_matrix *X = &net->task->X;
    int64_t row = source_row(net->task, first + i);
    int64_t k = csr_index(X->indptr, X->index_bytes, row), end = csr_index(X->indptr, X->index_bytes, row + 1);
    const real *W = y->W + panel * PANEL * y->fan_in, *b = y->b + panel * PANEL;
    vec acc[TILE_VECS];
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) acc[v] = vec_load(b + v * VL);
    for (; k < end; k++) {
        vec x = vec_broadcast(csr_value(X, k));
        const real *w = W + csr_index(X->indices, X->index_bytes, k) * width * VL;
#pragma GCC unroll 4
        for (int v = 0; v < width; v++) acc[v] = vec_fma(x, vec_load(w + v * VL), acc[v]);
    }
    real *z = y->A + (panel * net->capacity + i) * PANEL;
#pragma GCC unroll 4
    for (int v = 0; v < width; v++) vec_store(z + v * VL, acc[v]);
}

static void csr_product(const network *net, const layer *y, const blocks *b, int64_t first) {
    int64_t width = panel_width(y->fan_out, b->panel) / VL;
    for (int64_t i = b->row; i < b->row_end; i++)
        switch (width) {
#define CSR_WIDTH(v)                                                                                             \
    case v: csr_product_row(net, y, b->panel, first, i, v); break;
            FM_WIDTHS(CSR_WIDTH)
        }
}

/* A = f(A_prev W + b) for layer l; the last layer keeps its logits. */
static void forward(const network *net, int64_t l, int64_t first, int64_t rows, const team *t, int32_t thread) {
    const layer *y = &net->layers[l];
    const activation *f = l < net->n_layers - 1 ? &activations[net->task->activation] : NULL;
    int64_t panel_size = net->capacity * PANEL;
    int sparse = l == 0 && net->task->X.indices;
    for (blocks b = my_blocks(t, thread, n_panels(y->fan_out), rows, batch_block(t, rows)); next_block(&b);) {
        int64_t width = panel_width(y->fan_out, b.panel), most = tile_rows[width / VL];
        real *z = y->A + b.panel * panel_size;
        if (sparse) csr_product(net, y, &b, first);
        cut cut = cut_rows(b.row_end - b.row, most);
        for (int64_t i = b.row, n; i < b.row_end; i += n) {
            n = next_tile(&cut);
            tile tile = {.a = (l ? net->layers[l - 1].A : net->X) + i * PANEL,
                         .a_panel_size = panel_size,
                         .b = y->W + b.panel * PANEL * y->fan_in,
                         .depth = y->fan_in,
                         .initial = y->b + b.panel * PANEL,
                         .c = z + i * PANEL};
            if (!sparse) product_kernels[width / VL][n](&tile);
            if (f) f->tile(tile.c, n, width);
        }
    }
}

/* delta of layer l - 1: (delta_l Wt) f'(A). */
static void input_gradient(const network *net, int64_t l, int64_t rows, const team *t, int32_t thread) {
    const layer *y = &net->layers[l], *below = y - 1;
    const activation *f = &activations[net->task->activation];
    int64_t panel_size = net->capacity * PANEL;
    for (blocks b = my_blocks(t, thread, n_panels(y->fan_in), rows, batch_block(t, rows)); next_block(&b);) {
        int64_t width = panel_width(y->fan_in, b.panel), most = tile_rows[width / VL];
        cut cut = cut_rows(b.row_end - b.row, most);
        for (int64_t i = b.row, n; i < b.row_end; i += n) {
            n = next_tile(&cut);
            int64_t at = b.panel * panel_size + i * PANEL;
            tile tile = {.a = y->delta + i * PANEL,
                         .a_panel_size = panel_size,
                         .b = y->Wt + b.panel * PANEL * y->fan_out,
                         .depth = y->fan_out,
                         .initial = net->zeros,
                         .c = below->delta + at};
            product_kernels[width / VL][n](&tile);
            f->gradient_tile(tile.c, below->A + at, n, width);
        }
    }
}

/* The logits of the chunk's rows -> delta; row_loss of each row. */
static void output_delta(const network *net, int64_t first, int64_t rows, const team *t, int32_t thread) {
    const layer *y = &net->layers[net->n_layers - 1];
    const loss *loss = &losses[net->task->loss];
    row_shape shape = {padded(y->fan_out) / LANES, net->capacity * PANEL};
    int64_t begin, end;
    team_share(t, thread, rows, &begin, &end);
    gather_targets(net, first, begin, end);
    for (int64_t i = begin; i < end; i++)
        net->row_loss[i] = loss->row(y->A + i * PANEL, net->Y + i * PANEL, row_weight(net->task, first + i), &shape);
}

/* How the gradients of a chunk are used: added up in dW and db, or the update at once. */
typedef struct learning {
    const step *step; /* the update; NULL: add up */
    int32_t carry;    /* not the first chunk: go on from the sums in dW and db */
} learning;

/* p + n, or NULL. */
INLINE real *advance(real *p, int64_t n) { return p ? p + n : NULL; }

static void update_block(const network *net, const step *p, const weights_block *k) {
    optimizers[net->task->optimizer.kind](p, k);
}

/* Block of dW for rows [row, row_end) of a CSR layer 0: each non-zero adds its multiple of the row of delta. */
static void csr_weight_gradient(const network *net, const blocks *b, int64_t first, int64_t rows, int64_t *cursors, real *dW) {
    const fm_matrix *X = &net->task->X;
    const layer *y = &net->layers[0];
    int64_t width = panel_width(y->fan_out, b->panel);
    const real *delta = y->delta + b->panel * net->capacity * PANEL;
    for (int64_t i = 0; i < rows; i++, delta += PANEL) {
        int64_t end = csr_index(X->indptr, X->index_bytes, source_row(net->task, first + i) + 1), k = cursors[i];
        for (; k < end; k++) {
            int64_t column = csr_index(X->indices, X->index_bytes, k);
            if (column >= b->row_end) break;
            vec x = vec_broadcast(csr_value(X, k));
            real *to = dW + (column - b->row) * width;
            for (int64_t c = 0; c < width; c += VL) vec_store(to + c, vec_fma(x, vec_load(delta + c), vec_load(to + c)));
        }
        cursors[i] = k;
    }
}

/* Set the cursors of a panel's first block of this thread: the first non-zero at or right of `column`. */
static void seek_cursors(const network *net, int64_t first, int64_t rows, int64_t column, int64_t *cursors) {
    const fm_matrix *X = &net->task->X;
    for (int64_t i = 0; i < rows; i++) {
        int64_t row = source_row(net->task, first + i);
        int64_t low = csr_index(X->indptr, X->index_bytes, row), high = csr_index(X->indptr, X->index_bytes, row + 1);
        while (column && low < high) {
            int64_t middle = (low + high) / 2;
            if (csr_index(X->indices, X->index_bytes, middle) < column)
                low = middle + 1;
            else
                high = middle;
        }
        cursors[i] = low;
    }
}

/* Block of dW for rows [row, row_end): tiles of the dense product; `update` makes the tiles update W themselves. */
static void dense_weight_gradient(const network *net, int64_t l, const blocks *b, int64_t rows, const real *initial, real *c,
                                  const step *update, real *squares) {
    const layer *y = &net->layers[l];
    int64_t width = panel_width(y->fan_out, b->panel), most = tile_rows[width / VL], panel_size = net->capacity * PANEL;
    const real *A = l ? net->layers[l - 1].A : net->X;
    tile tile = {.b = y->delta + b->panel * panel_size,
                 .depth = rows,
                 .initial = initial ? initial : net->zeros,
                 .initial_stride = initial ? width : 0,
                 .c = c,
                 .update = update,
                 .squares = squares};
    /* A tile reads adjacent columns of one panel of A. */
    for (int64_t k = b->row, end; k < b->row_end; k = end) {
        end = least(b->row_end, k + PANEL);
        cut cut = cut_rows(end - k, most);
        tile.a = A + k / PANEL * panel_size;
        if (update && rows == 1) {
            outer_product_kernels[width / VL](&tile, end - k);
            tile.c += (end - k) * width;
            continue;
        }
        while (cut.tiles > 0) {
            int64_t n = next_tile(&cut);
            weight_gradient_kernels[width / VL][n](&tile);
            tile.a += n;
            tile.c += n * width;
            tile.initial += n * tile.initial_stride;
        }
    }
}

/* db = sum of delta over the rows, and its update. */
static void bias_gradient(const network *net, const layer *y, int64_t panel, int64_t rows, learning how, real *block) {
    int64_t width = panel_width(y->fan_out, panel), at = panel * PANEL;
    const real *delta = y->delta + panel * net->capacity * PANEL;
    real *db = how.step ? block : y->db + at;
    for (int64_t c = 0; c < width; c += VL) {
        vec sum = how.carry ? vec_load(y->db + at + c) : (vec){0};
        for (int64_t i = 0; i < rows; i++) sum = sum + vec_load(delta + i * PANEL + c);
        vec_store(db + c, sum);
    }
    if (how.step)
        update_block(net, how.step,
                     &(weights_block){.rows = 1,
                                      .width = width,
                                      .gradient = db,
                                      .w = y->b + at,
                                      .slots = {advance(y->slot_b[0], at), advance(y->slot_b[1], at)}});
}

/* Gradients of W and b of layer l, and their use. Reads delta_l and A_(l-1), writes W, b and the slots. */
static void weight_gradient(const network *net, int64_t l, int64_t first, int64_t rows, learning how, const team *t,
                            int32_t thread) {
    const layer *y = &net->layers[l];
    real *block = net->blocks + thread * BLOCK_ROWS * PANEL;
    int64_t *cursors = net->cursors ? net->cursors + thread * net->capacity : NULL;
    int sparse = l == 0 && net->task->X.indices;
    int in_registers = how.step && !how.carry && !sparse && net->task->optimizer.kind == OPTIMIZER_sgd;
    int64_t seen_panel = -1;
    for (blocks b = my_blocks(t, thread, n_panels(y->fan_out), y->fan_in, BLOCK_ROWS); next_block(&b);) {
        int64_t width = panel_width(y->fan_out, b.panel), at = b.panel * PANEL * y->fan_in + b.row * width;
        size_t bytes = (size_t)((b.row_end - b.row) * width) * sizeof(real);
        real *squares = y->squares && how.step ? y->squares + b.row / BLOCK_ROWS * padded(y->fan_out) + b.panel * PANEL : NULL;
        real *dW = how.step ? block : y->dW + at; /* y->dW exists where a batch has several chunks */
        if (in_registers) {
            if (squares) memset(squares, 0, (size_t)width * sizeof(real));
            dense_weight_gradient(net, l, &b, rows, NULL, y->W + at, how.step, squares);
        } else if (sparse) {
            if (b.panel != seen_panel) seek_cursors(net, first, rows, b.row, cursors);
            if (!how.carry)
                memset(dW, 0, bytes);
            else if (how.step)
                memcpy(dW, y->dW + at, bytes);
            csr_weight_gradient(net, &b, first, rows, cursors, dW);
        } else {
            dense_weight_gradient(net, l, &b, rows, how.carry ? y->dW + at : NULL, dW, NULL, NULL);
        }
        if (how.step && !in_registers)
            update_block(net, how.step,
                         &(weights_block){.rows = b.row_end - b.row,
                                          .width = width,
                                          .gradient = dW,
                                          .w = y->W + at,
                                          .slots = {advance(y->slot_W[0], at), advance(y->slot_W[1], at)},
                                          .squares = squares,
                                          .alpha = how.step->alpha});
        if (b.row == 0) bias_gradient(net, y, b.panel, rows, how, block);
        seen_panel = b.panel;
    }
}

/* Sum of the squares of all weights before the last update, biases exempt: LANES chains, then their fixed tree. */
static double sum_of_squares(const network *net) {
    double sum = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *y = &net->layers[l];
        int64_t n = (y->fan_in + BLOCK_ROWS - 1) / BLOCK_ROWS * padded(y->fan_out);
        vec lanes[LANE_VECS];
        for (int v = 0; v < LANE_VECS; v++) lanes[v] = (vec){0};
        for (int64_t i = 0; i < n; i += LANES)
            for (int v = 0; v < LANE_VECS; v++) lanes[v] = lanes[v] + vec_load(y->squares + i + v * VL);
        sum += (double)lanes_sum(lanes)[0];
    }
    return sum;
}
