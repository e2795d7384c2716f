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

static blocks my_blocks(const team *crew, int32_t thread, int64_t panels, int64_t rows, int64_t height) {
    blocks b = {.rows = rows, .height = height};
    team_share(crew, thread, panels * ((rows + height - 1) / height), &b.next, &b.end);
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
static int64_t batch_block(const team *crew, int64_t rows) { return crew->n_threads == 1 ? rows : 48; }

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

/* p + n, or NULL. */
INLINE real *advance(real *p, int64_t n) { return p ? p + n : NULL; }

/* Panel j of W_l: from scratch, or packed now. */
static const real *weight_panel(const network *net, int64_t l, int64_t j) {
    const layer *here = &net->layers[l];
    if (here->params.W) return here->params.W + j * PANEL * here->fan_in;
    const real *flat = (const real *)net->task->params + flat_W(net->task, l) + j * PANEL;
    pack_panel(flat, here->fan_in, here->fan_out, panel_width(here->fan_out, j),
               least(PANEL, here->fan_out - j * PANEL), net->panel);
    return net->panel;
}

/* The epilogue of the forward product: z -> a, for the tile of layer l whose first element is at (row, panel) of the chunk;
 * then dropout, if any. */
INLINE void activate(const network *net, int64_t l, const chunk *c, const drop *dropping, int64_t row, int64_t panel,
                     int64_t n, int64_t width) {
    const layer *here = &net->layers[l];
    if (l == net->n_layers - 1) return; /* the last layer keeps its logits */
    int64_t at = panel * net->capacity * PANEL + row * PANEL;
    activations[net->task->activations[l]].tile(here->A + at, advance(here->Z, at), n, width);
    if (dropping) drop_tile(dropping, c->place + row, panel * PANEL, here->A + at, n, width);
}

/* The epilogue of the input gradient: dL/da -> dL/dz, at the same place. */
INLINE void differentiate(const network *net, int64_t l, const drop *dropping, int64_t row, int64_t panel, int64_t n,
                          int64_t width) {
    const layer *here = &net->layers[l];
    const activation *f = &activations[net->task->activations[l]];
    int64_t at = panel * net->capacity * PANEL + row * PANEL;
    real *delta = here->delta + at, *Z = advance(here->Z, at);
    if (dropping) f->dropped_tile(delta, here->A + at, Z, n, width, dropping);
    else f->gradient_tile(delta, here->A + at, Z, n, width);
}

/* A = f(A_prev W + b) for layer l. */
static void forward(const network *net, int64_t l, const chunk *c, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l];
    drop drop_here;
    const drop *dropping = l < net->n_layers - 1 ? drop_of(net->task, l + 1, c, &drop_here) : NULL;
    int64_t panel_size = net->capacity * PANEL;
    const real *A = l ? net->layers[l - 1].A : net->X; /* NULL: CSR */
    blocks b = my_blocks(crew, thread, n_panels(here->fan_out), c->rows, batch_block(crew, c->rows));
    while (next_block(&b)) {
        int64_t width = panel_width(here->fan_out, b.panel);
        tile product = {.a_panel_size = panel_size,
                        .b = weight_panel(net, l, b.panel),
                        .depth = here->fan_in,
                        .initial = here->params.b + b.panel * PANEL,
                        .c = here->A + b.panel * panel_size};
        if (!A) sparse_product_kernels[width / VL](&net->sparse, b.row, b.row_end - b.row, &product);
        cut heights = cut_rows(b.row_end - b.row, tile_rows[width / VL]);
        for (int64_t i = b.row, n; i < b.row_end; i += n) {
            n = next_tile(&heights);
            product.a = A ? A + i * PANEL : NULL;
            product.c = here->A + b.panel * panel_size + i * PANEL;
            if (A) product_kernels[width / VL][n](&product);
            activate(net, l, c, dropping, i, b.panel, n, width);
        }
    }
}

/* The same for the few rows of a prediction that reads W where it lies in the parameters. */
static void forward_in_place(const network *net, int64_t l, const chunk *c) {
    const layer *here = &net->layers[l];
    const fm_task *task = net->task;
    const real *W = (const real *)task->params + flat_W(task, l);
    const real *end = (const real *)task->params + flat_b(task, net->n_layers);
    const real *A = l ? net->layers[l - 1].A : net->X; /* NULL: CSR */
    int64_t n = here->fan_out, panel_size = net->capacity * PANEL, rows = c->rows;
    for (int64_t j = 0; j < n_panels(n); j++)
        for (int64_t i = 0; i < rows; i++)
            memcpy(here->A + j * panel_size + i * PANEL, here->params.b + j * PANEL,
                   (size_t)panel_width(n, j) * sizeof(real));
    if (A) {
        int64_t k = 0;
        for (; k + FLAT_DEPTH <= here->fan_in; k += FLAT_DEPTH)
            flat_product(A + k / PANEL * panel_size + k % PANEL, rows, FLAT_DEPTH, W + k * n, end, n, here->A,
                         panel_size);
        for (; k < here->fan_in; k++)
            flat_product(A + k / PANEL * panel_size + k % PANEL, rows, 1, W + k * n, end, n, here->A, panel_size);
    } else {
        const sparse_rows *x = &net->sparse;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = x->row_start[i]; k < x->row_start[i + 1]; k++)
                flat_product(x->value + k, 1, 1, W + x->column[k] * n, end, n, here->A + i * PANEL, panel_size);
    }
    for (int64_t j = 0; j < n_panels(n); j++) activate(net, l, c, NULL, 0, j, rows, panel_width(n, j));
}

/* delta of layer l - 1: (delta_l Wt) f'. */
static void input_gradient(const network *net, int64_t l, const chunk *c, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l], *below = here - 1;
    int64_t panel_size = net->capacity * PANEL, rows = c->rows;
    drop drop_below;
    const drop *dropping = drop_of(net->task, l, c, &drop_below);
    blocks b = my_blocks(crew, thread, n_panels(here->fan_in), rows, batch_block(crew, rows));
    while (next_block(&b)) {
        int64_t width = panel_width(here->fan_in, b.panel);
        cut heights = cut_rows(b.row_end - b.row, tile_rows[width / VL]);
        for (int64_t i = b.row, n; i < b.row_end; i += n) {
            n = next_tile(&heights);
            tile product = {.a = here->delta + i * PANEL,
                            .a_panel_size = panel_size,
                            .b = here->Wt + b.panel * PANEL * here->fan_out,
                            .depth = here->fan_out,
                            .initial = net->zeros,
                            .c = below->delta + b.panel * panel_size + i * PANEL};
            product_kernels[width / VL][n](&product);
            differentiate(net, l - 1, dropping, i, b.panel, n, width);
        }
    }
}

/* My groups of VL rows: [begin, end). */
static void my_groups(int64_t rows, const team *crew, int32_t thread, int64_t *begin, int64_t *end) {
    team_share(crew, thread, (rows + VL - 1) / VL, begin, end);
    *begin *= VL;
    *end = least(*end * VL, rows);
}

/* The logits of the chunk's rows -> delta; row_loss of each row. */
static void output_delta(const network *net, const chunk *c, const team *crew, int32_t thread) {
    const fm_task *task = net->task;
    const layer *here = &net->layers[net->n_layers - 1];
    int64_t begin, end, panel_size = net->capacity * PANEL;
    real *z = net->columns + thread * net->columns_size, *targets = z + padded(here->fan_out) * VL;
    real *target_rows = targets + padded(here->fan_out) * VL;
    my_groups(c->rows, crew, thread, &begin, &end);
    for (int64_t i = begin; i < end; i += VL) {
        int64_t valid = least(VL, end - i);
        _Alignas(FM_ALIGNMENT) real weight[VL];
        for (int64_t r = 0; r < VL; r++)
            weight[r] = r < valid ? row_weight(task, c->first + i + r, c->weight_scale) : 0;
        gather_targets(net, c->first, i, valid, target_rows, targets);
        rows_to_columns(here->A + i * PANEL, panel_size, valid, here->fan_out, z);
        vec loss = losses[task->loss].columns(task, z, targets, here->fan_out, vec_load(weight));
        vec_store(net->row_loss + i, loss);
        columns_to_rows(z, here->fan_out, here->A + i * PANEL, panel_size, valid);
    }
}

/* The logits of the chunk's rows -> outputs. */
static void output_values(const network *net, const chunk *c) {
    const fm_task *task = net->task;
    const layer *here = &net->layers[net->n_layers - 1];
    int64_t panel_size = net->capacity * PANEL, n_outputs = here->fan_out;
    real *z = net->columns;
    for (int64_t i = 0; i < c->rows; i += VL) {
        int64_t valid = least(VL, c->rows - i);
        rows_to_columns(here->A + i * PANEL, panel_size, valid, n_outputs, z);
        losses[task->loss].link(z, n_outputs);
        columns_to_rows(z, n_outputs, here->A + i * PANEL, panel_size, valid);
        for (int64_t r = i; r < i + valid; r++)
            for (int64_t j = 0; j < n_panels(n_outputs); j++)
                memcpy((real *)task->outputs + (c->first + r) * n_outputs + j * PANEL,
                       here->A + j * panel_size + r * PANEL,
                       (size_t)least(PANEL, n_outputs - j * PANEL) * sizeof(real));
    }
}

/* How the gradients of a chunk are used. */
typedef struct learning {
    const constants *numbers; /* of the step; NULL: more chunks of the batch follow */
    block_update *finish;     /* what is done with the sums of a batch; NULL: the micro-kernels do it in registers */
    int32_t stays;            /* the sums stay in memory */
    int32_t carry;            /* not the first chunk: go on from the sums in memory */
} learning;

/* The k-th block of layer `l` for its update: W from `at` on, or b. */
static parameters_block block_of(const layer *here, int64_t l, int32_t biases, int64_t at, int64_t rows, int64_t width,
                                 real *gradient) {
    parameters_block block = {.rows = rows,
                              .width = width,
                              .layer = (int32_t)l,
                              .biases = biases,
                              .gradient = gradient,
                              .w = (biases ? here->params.b : here->params.W) + at};
    for (int s = 0; s < MAX_SLOTS; s++) block.slots[s] = advance(biases ? here->slots[s].b : here->slots[s].W, at);
    return block;
}

/* Block of dW for rows [row, row_end), into c: `initial` are the sums so far, or NULL; with `update` c is W, and the
 * kernels update it themselves. */
static void gradient_block_of(const network *net, int64_t l, const blocks *b, int64_t rows, const real *initial,
                              real *c, const constants *update, real *squares) {
    const layer *here = &net->layers[l];
    int64_t width = panel_width(here->fan_out, b->panel), panel_size = net->capacity * PANEL;
    const real *A = l ? net->layers[l - 1].A : net->X;
    tile sums = {.b = here->delta + b->panel * panel_size,
                 .depth = rows,
                 .initial = initial ? initial : net->zeros,
                 .initial_stride = initial ? width : 0,
                 .c = c,
                 .update = update,
                 .squares = squares};
    if (!A) {
        sparse_weight_gradient_kernels[width / VL](&net->sparse, b->row, b->row_end - b->row, &sums);
        return;
    }
    /* A tile reads adjacent columns of one panel of A. */
    for (int64_t k = b->row, end; k < b->row_end; k = end) {
        end = least(b->row_end, k + PANEL);
        sums.a = A + k / PANEL * panel_size;
        if (update && rows == 1) {
            outer_product_kernels[width / VL](&sums, end - k);
            sums.c += (end - k) * width;
            continue;
        }
        cut heights = cut_rows(end - k, tile_rows[width / VL]);
        while (heights.tiles > 0) {
            int64_t n = next_tile(&heights);
            weight_gradient_kernels[width / VL][n](&sums);
            sums.a += n;
            sums.c += n * width;
            sums.initial += n * sums.initial_stride;
        }
    }
}

/* Where the sums of row block `block` and of one panel of its columns lie, in layer.penalty and layer.norm. */
static int64_t sums_at(const layer *here, int64_t block, int64_t panel) {
    return block * padded(here->fan_out) + panel * PANEL;
}
static int64_t row_blocks(const layer *here) { return (here->fan_in + BLOCK_ROWS - 1) / BLOCK_ROWS; }

/* db = sum of delta over the rows, and its use. */
static void bias_gradient(const network *net, int64_t l, int64_t panel, int64_t rows, learning how, real *block) {
    const layer *here = &net->layers[l];
    int64_t width = panel_width(here->fan_out, panel), at = panel * PANEL;
    const real *delta = here->delta + panel * net->capacity * PANEL;
    real *db = how.stays ? here->gradient.b + at : block;
    for (int64_t c = 0; c < width; c += VL) {
        vec sum = how.carry ? vec_load(here->gradient.b + at + c) : (vec){0};
        for (int64_t i = 0; i < rows; i++) sum = sum + vec_load(delta + i * PANEL + c);
        vec_store(db + c, sum);
    }
    if (!how.numbers) return;
    constants numbers = numbers_of(net->task, how.numbers, l, 1);
    parameters_block biases = block_of(here, l, 1, at, 1, width, db);
    biases.norm = advance(here->norm, sums_at(here, row_blocks(here), panel));
    (how.finish ? how.finish : optimizers[net->task->optimizer.kind].block)(&numbers, &biases);
}

/* Gradients of W and b of layer l, and their use. Reads delta_l and A_(l-1), writes W, b and the slots. */
static void weight_gradient(const network *net, int64_t l, int64_t rows, learning how, const team *crew,
                            int32_t thread) {
    const layer *here = &net->layers[l];
    real *block = net->blocks + thread * BLOCK_ROWS * PANEL;
    constants numbers = {0};
    if (how.numbers) numbers = numbers_of(net->task, how.numbers, l, 0);
    for (blocks b = my_blocks(crew, thread, n_panels(here->fan_out), here->fan_in, BLOCK_ROWS); next_block(&b);) {
        int64_t width = panel_width(here->fan_out, b.panel), at = b.panel * PANEL * here->fan_in + b.row * width;
        int64_t sums = sums_at(here, b.row / BLOCK_ROWS, b.panel);
        if (how.numbers && !how.finish) {
            real *squares = advance(here->penalty, sums);
            if (squares) memset(squares, 0, (size_t)width * sizeof(real));
            gradient_block_of(net, l, &b, rows, NULL, here->params.W + at, &numbers, squares);
        } else {
            real *dW = how.stays ? here->gradient.W + at : block;
            gradient_block_of(net, l, &b, rows, how.carry ? here->gradient.W + at : NULL, dW, NULL, NULL);
            parameters_block weights = block_of(here, l, 0, at, b.row_end - b.row, width, dW);
            weights.penalty = advance(here->penalty, sums), weights.norm = advance(here->norm, sums);
            if (how.numbers && l == 0 && net->scale.s) unscale_block(&net->scale, &weights, b.panel, b.row, at);
            if (how.numbers) how.finish(&numbers, &weights);
        }
        if (b.row == 0) bias_gradient(net, l, b.panel, rows, how, block);
    }
}

/* The update of my blocks of all layers from the gradient in scratch. */
static void update_parameters(const network *net, const constants *numbers, const team *crew, int32_t thread) {
    block_update *update = optimizers[net->task->optimizer.kind].block;
    for (int64_t l = net->n_layers - 1; l >= 0; l--) {
        const layer *here = &net->layers[l];
        constants of_W = numbers_of(net->task, numbers, l, 0), of_biases = numbers_of(net->task, numbers, l, 1);
        for (blocks b = my_blocks(crew, thread, n_panels(here->fan_out), here->fan_in, BLOCK_ROWS); next_block(&b);) {
            int64_t width = panel_width(here->fan_out, b.panel), at = b.panel * PANEL * here->fan_in + b.row * width;
            parameters_block W = block_of(here, l, 0, at, b.row_end - b.row, width, here->gradient.W + at);
            update(&of_W, &W);
            if (b.row > 0) continue;
            at = b.panel * PANEL;
            parameters_block biases = block_of(here, l, 1, at, 1, width, here->gradient.b + at);
            update(&of_biases, &biases);
        }
    }
}

/* Sum of n numbers, a multiple of LANES: LANES chains, then their fixed tree. */
static double sum_of(const real *numbers, int64_t n) {
    vec lanes[LANE_VECS];
    for (int v = 0; v < LANE_VECS; v++) lanes[v] = (vec){0};
    for (int64_t i = 0; i < n; i += LANES)
        for (int v = 0; v < LANE_VECS; v++) lanes[v] = lanes[v] + vec_load(numbers + i + v * VL);
    return (double)lanes_sum(lanes);
}

/* The penalty of the weights before the last update, whose strength is alpha. */
static double penalty_of(const network *net, const constants *numbers, double alpha) {
    double sum = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        sum += sum_of(here->penalty, row_blocks(here) * padded(here->fan_out));
    }
    return numbers->general ? sum : 0.5 * alpha * sum;
}

/* Norm of the gradient of the sum over a batch. */
static double norm_of(const network *net) {
    double sum = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        sum += sum_of(here->norm, (row_blocks(here) + 1) * padded(here->fan_out));
    }
    return sqrt(sum);
}
