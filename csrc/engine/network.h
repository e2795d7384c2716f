/* network.h: forward and backward over the layers, each function the share of one thread.
 *
 * Work is cut into blocks: (panel of columns) x (block of rows), numbered down the columns first, and each thread takes a
 * contiguous share: wide layers split by weight columns, which stay in their owner's cache, narrow ones by rows.
 */

typedef struct blocks {
    int64_t next, end;           /* numbers of the blocks of this thread */
    int64_t rows, height;        /* rows in all, rows of a block */
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

/* Where W_l and b_l begin in the flat vector of parameters, of slots or of the gradient. */
static int64_t flat_W(const fm_task *task, int64_t l) {
    int64_t at = 0;
    for (int64_t i = 0; i < l; i++) at += task->n_units[i] * task->n_units[i + 1];
    return at;
}
static int64_t flat_b(const fm_task *task, int64_t l) {
    int64_t at = flat_W(task, task->n_layers);
    for (int64_t i = 0; i < l; i++) at += task->n_units[i + 1];
    return at;
}

/* Panel j of W_l: from scratch, or packed now. */
static const real *weight_panel(const network *net, int64_t l, int64_t j) {
    const layer *y = &net->layers[l];
    if (y->W) return y->W + j * PANEL * y->fan_in;
    const real *flat = (const real *)net->task->params + flat_W(net->task, l) + j * PANEL;
    pack_panel(flat, y->fan_in, y->fan_out, panel_width(y->fan_out, j), least(PANEL, y->fan_out - j * PANEL),
               net->panel);
    return net->panel;
}

/* A = f(A_prev W + b) for layer l; the last layer keeps its logits. */
static void forward(const network *net, int64_t l, int64_t rows, const team *t, int32_t thread) {
    const layer *y = &net->layers[l];
    const activation *f = l < net->n_layers - 1 ? &activations[net->task->activation] : NULL;
    int64_t panel_size = net->capacity * PANEL;
    const real *A = l ? net->layers[l - 1].A : net->X; /* NULL: CSR */
    for (blocks b = my_blocks(t, thread, n_panels(y->fan_out), rows, batch_block(t, rows)); next_block(&b);) {
        int64_t width = panel_width(y->fan_out, b.panel), most = tile_rows[width / VL];
        tile tile = {.a_panel_size = panel_size,
                     .b = weight_panel(net, l, b.panel),
                     .depth = y->fan_in,
                     .initial = y->b + b.panel * PANEL,
                     .c = y->A + b.panel * panel_size};
        if (!A) sparse_product_kernels[width / VL](&net->sparse, b.row, b.row_end - b.row, &tile);
        cut cut = cut_rows(b.row_end - b.row, most);
        for (int64_t i = b.row, n; i < b.row_end; i += n) {
            n = next_tile(&cut);
            tile.a = A ? A + i * PANEL : NULL;
            tile.c = y->A + b.panel * panel_size + i * PANEL;
            if (A) product_kernels[width / VL][n](&tile);
            if (f) f->tile(tile.c, n, width);
        }
    }
}

/* The same for the few rows of a prediction that leaves W where it lies in the parameters. */
static void forward_in_place(const network *net, int64_t l, int64_t rows) {
    const layer *y = &net->layers[l];
    const fm_task *task = net->task;
    const real *W = (const real *)task->params + flat_W(task, l);
    const real *end = (const real *)task->params + flat_b(task, net->n_layers);
    const real *A = l ? net->layers[l - 1].A : net->X; /* NULL: CSR */
    int64_t n = y->fan_out, panel_size = net->capacity * PANEL;
    for (int64_t j = 0; j < n_panels(n); j++)
        for (int64_t i = 0; i < rows; i++)
            memcpy(y->A + j * panel_size + i * PANEL, y->b + j * PANEL, (size_t)panel_width(n, j) * sizeof(real));
    if (A) {
        int64_t k = 0;
        for (; k + FLAT_DEPTH <= y->fan_in; k += FLAT_DEPTH)
            flat_product(A + k / PANEL * panel_size + k % PANEL, rows, FLAT_DEPTH, W + k * n, end, n, y->A, panel_size);
        for (; k < y->fan_in; k++)
            flat_product(A + k / PANEL * panel_size + k % PANEL, rows, 1, W + k * n, end, n, y->A, panel_size);
    } else {
        const sparse_rows *x = &net->sparse;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = x->row_start[i]; k < x->row_start[i + 1]; k++)
                flat_product(x->value + k, 1, 1, W + x->column[k] * n, end, n, y->A + i * PANEL, panel_size);
    }
    if (l == net->n_layers - 1) return;
    for (int64_t j = 0; j < n_panels(n); j++)
        activations[task->activation].tile(y->A + j * panel_size, rows, panel_width(n, j));
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

/* My groups of VL rows: [begin, end). */
static void my_groups(int64_t rows, const team *t, int32_t thread, int64_t *begin, int64_t *end) {
    team_share(t, thread, (rows + VL - 1) / VL, begin, end);
    *begin *= VL;
    *end = least(*end * VL, rows);
}

/* The logits of the chunk's rows -> delta; row_loss of each row. */
static void output_delta(const network *net, int64_t first, int64_t rows, const team *t, int32_t thread) {
    const fm_task *task = net->task;
    const layer *y = &net->layers[net->n_layers - 1];
    int64_t begin, end, panel_size = net->capacity * PANEL;
    real *z = net->columns + thread * net->columns_size, *targets = z + padded(y->fan_out) * VL;
    real *target_rows = targets + padded(y->fan_out) * VL;
    my_groups(rows, t, thread, &begin, &end);
    for (int64_t i = begin; i < end; i += VL) {
        int64_t valid = least(VL, end - i);
        _Alignas(FM_ALIGNMENT) real weight[VL];
        for (int64_t r = 0; r < VL; r++) weight[r] = r < valid ? row_weight(task, first + i + r) : 0;
        gather_targets(net, first, i, valid, target_rows, targets);
        rows_to_columns(y->A + i * PANEL, panel_size, valid, y->fan_out, z);
        vec loss = losses[task->loss].columns(z, targets, y->fan_out, vec_load(weight));
        vec_store(net->row_loss + i, loss);
        columns_to_rows(z, y->fan_out, y->A + i * PANEL, panel_size, valid);
    }
}

/* The logits of the chunk's rows -> outputs, of which the first row is row `first` of the task. */
static void output_values(const network *net, int64_t first, int64_t rows, const team *t, int32_t thread) {
    const fm_task *task = net->task;
    const layer *y = &net->layers[net->n_layers - 1];
    int64_t begin, end, panel_size = net->capacity * PANEL;
    real *z = net->columns + thread * net->columns_size;
    my_groups(rows, t, thread, &begin, &end);
    for (int64_t i = begin; i < end; i += VL) {
        int64_t valid = least(VL, end - i);
        rows_to_columns(y->A + i * PANEL, panel_size, valid, y->fan_out, z);
        losses[task->loss].link(z, y->fan_out);
        columns_to_rows(z, y->fan_out, y->A + i * PANEL, panel_size, valid);
        for (int64_t r = i; r < i + valid; r++)
            for (int64_t j = 0; j < n_panels(y->fan_out); j++)
                memcpy((real *)task->outputs + (first + r) * y->fan_out + j * PANEL, y->A + j * panel_size + r * PANEL,
                       (size_t)least(PANEL, y->fan_out - j * PANEL) * sizeof(real));
    }
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

/* Block of dW for rows [row, row_end), into c: `initial` are the sums so far, or NULL; with `update` c is W, and the
 * kernels update it themselves. */
static void gradient_block_of(const network *net, int64_t l, const blocks *b, int64_t rows, const real *initial,
                              real *c, const step *update, real *squares) {
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
    if (!A) {
        sparse_weight_gradient_kernels[width / VL](&net->sparse, b->row, b->row_end - b->row, &tile);
        return;
    }
    /* A tile reads adjacent columns of one panel of A. */
    for (int64_t k = b->row, end; k < b->row_end; k = end) {
        end = least(b->row_end, k + PANEL);
        tile.a = A + k / PANEL * panel_size;
        if (update && rows == 1) {
            outer_product_kernels[width / VL](&tile, end - k);
            tile.c += (end - k) * width;
            continue;
        }
        cut cut = cut_rows(end - k, most);
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
static void weight_gradient(const network *net, int64_t l, int64_t rows, learning how, const team *t, int32_t thread) {
    const layer *y = &net->layers[l];
    real *block = net->blocks + thread * BLOCK_ROWS * PANEL;
    int in_registers = how.step && !how.carry && net->task->optimizer.kind == OPTIMIZER_sgd;
    for (blocks b = my_blocks(t, thread, n_panels(y->fan_out), y->fan_in, BLOCK_ROWS); next_block(&b);) {
        int64_t width = panel_width(y->fan_out, b.panel), at = b.panel * PANEL * y->fan_in + b.row * width;
        int64_t squares_at = b.row / BLOCK_ROWS * padded(y->fan_out) + b.panel * PANEL;
        real *squares = how.step ? advance(y->squares, squares_at) : NULL;
        if (in_registers) {
            if (squares) memset(squares, 0, (size_t)width * sizeof(real));
            gradient_block_of(net, l, &b, rows, NULL, y->W + at, how.step, squares);
        } else {
            real *dW = how.step ? block : y->dW + at; /* y->dW exists where a batch has several chunks */
            gradient_block_of(net, l, &b, rows, how.carry ? y->dW + at : NULL, dW, NULL, NULL);
            if (how.step)
                update_block(net, how.step,
                             &(weights_block){.rows = b.row_end - b.row,
                                              .width = width,
                                              .gradient = dW,
                                              .w = y->W + at,
                                              .slots = {advance(y->slot_W[0], at), advance(y->slot_W[1], at)},
                                              .squares = squares,
                                              .alpha = how.step->alpha});
        }
        if (b.row == 0) bias_gradient(net, y, b.panel, rows, how, block);
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
        sum += (double)lanes_sum(lanes);
    }
    return sum;
}
