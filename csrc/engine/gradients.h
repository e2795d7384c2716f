/* gradients.h: the layers backward, and what is done with the gradients; each function is the share of one thread. */

/* The epilogue of the input gradient: dL/da -> dL/dz, at the same place; the tile begins at (row, panel) of the chunk. */
INLINE void differentiate(const network *net, const layer *here, const drop *dropping, int64_t row, int64_t panel,
                          int64_t n, int64_t width, real *delta) {
    int64_t at = panel * net->capacity * PANEL + row * PANEL;
    real *slopes = advance(here->slopes, at);
    const real *a = here->A.values + at;
    if (dropping) here->f->dropped_tile(delta, a, slopes, n, width, dropping);
    else here->f->gradient_tile(delta, a, slopes, n, width);
    if (rounds(net->task)) keep_operands(net, &here->delta, delta, row, panel, n, width);
}

enum { IN_PLACE_PANELS = BLOCK_ROWS / PANEL }; /* of delta_l Wt, which are computed together */

/* n panels of delta_l Wt from `panel` on, for the few rows of a batch that reads W where it lies. */
static void input_gradient_in_place(const network *net, int64_t l, int64_t rows, int64_t panel, int64_t n) {
    const layer *here = &net->layers[l];
    int64_t panel_size = net->capacity * PANEL, row = panel * PANEL; /* of W */
    int64_t valid = least(here->fan_in - row, n * PANEL);
    real *sums = here[-1].delta.values + panel * panel_size;
    for (int64_t at = 0; at < padded(valid); at += LANES)
        for (int64_t r = 0; r < rows; r++)
            memset(sums + at / PANEL * panel_size + r * PANEL + at % PANEL, 0, LANES * sizeof(real));
    for (int64_t j = 0; j < n_panels(here->fan_out); j++) {
        int64_t width = panel_width(here->fan_out, j), columns = least(width, here->fan_out - j * PANEL);
        const real *W = here->params.W + panel_at(j, here->fan_in) + row * width;
        transposed_columns(here->delta.values + j * panel_size, rows, columns, W, width, valid, sums, panel_size);
    }
}

/* My panels of delta of layer l - 1, in that way. */
static void few_input_gradients(const network *net, int64_t l, const chunk *c, const drop *dropping, const team *crew,
                                int32_t thread) {
    const layer *below = &net->layers[l - 1];
    int64_t p, end;
    team_share(crew, thread, n_panels(below->fan_out), &p, &end);
    for (int64_t n; p < end; p += n) {
        n = least(IN_PLACE_PANELS, end - p);
        input_gradient_in_place(net, l, c->rows, p, n);
        for (int64_t i = p; i < p + n; i++)
            differentiate(net, below, dropping, 0, i, c->rows, panel_width(below->fan_out, i),
                          below->delta.values + i * net->capacity * PANEL);
    }
}

/* The same for a layer with many weights. */
static void inner_input_gradient(const network *net, int64_t l, const blocks *b) {
    const layer *here = &net->layers[l], *below = here - 1;
    int64_t panel_size = net->capacity * PANEL, from = b->row * PANEL, n = b->row_end - b->row;
    real *sums = below->delta.values + b->panel * panel_size + from;
    for (int64_t i = 0; i < panel_width(here->fan_in, b->panel); i += LANES) {
        int64_t row = b->panel * PANEL + i, valid = here->fan_in - row; /* of W */
        inner_product_columns(here->delta.values + from, panel_size, n, here->params.W, here->fan_in - 1, here->fan_out,
                              row, sums + i);
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = valid; k < LANES; k++) sums[r * PANEL + i + k] = 0;
    }
}

/* W delta_lt, for a panel of rows of W and as many rows of delta from `row` on, or what is left of the block: terms [k, k + depth),
 * added to `sums`, or stored there where k is 0. `later` is asked for meanwhile. */
static void turned_terms(const network *net, int64_t l, const blocks *b, int64_t row, int64_t k, int64_t depth,
                         const real *later, real *sums) {
    const layer *here = &net->layers[l];
    int64_t width = padded(least(PANEL, b->row_end - row)), first = b->panel * PANEL, n_rows = here->fan_in - first;
    const real *W = here->params.W + panel_at(k / PANEL, here->fan_in);
    _Alignas(FM_ALIGNMENT) real last[TILE_ROWS * PANEL];
    int64_t apart = panel_at(1, here->fan_in);
    tile product = {.a_panel_size = apart,
                    .a_ahead = ONE_LINE ? 4 * apart : apart, /* lines that do not follow each other take longer */
                    .b = (const operand *)(here->turned + panel_at(row / PANEL, here->fan_out) + k * width),
                    .depth = depth,
                    .initial = net->zeros};
    cut heights = cut_rows(least(PANEL, n_rows), tile_rows[width / VL], 0);
    if (b->rows * here->fan_out >= MANY_WEIGHTS) ask_for(&product, (const operand *)later, width, heights.tiles);
    for (int64_t n; heights.tiles > 0;
         first += n, sums += n * PANEL, product.later += (uintptr_t)depth * product.later_step) {
        n = next_tile(&heights);
        product.a = (const operand *)(W + first * PANEL);
        if (depth < PANEL) { /* rows of the last panel, which is narrower, come to lie like the others */
            for (int64_t i = 0; i < n; i++) copy_row(last + i * PANEL, W + (first + i) * padded(depth), depth);
            product.a = (const operand *)last;
        }
        product.c = sums;
        if (k) product.initial = sums, product.initial_stride = PANEL;
        product_kernels[0][width / VL][n](&product);
    }
}

/* A block of W delta_lt, which is the transpose of delta_l Wt: W is read in the place of a batch, where that is larger than the
 * batch and would take longer to transpose. Some terms for all rows of delta, then the next: those of W stay in L2. Meanwhile
 * sums wait where delta of layer l - 1 is to lie, or in `sums` those of the last rows, for which there may be no room. */
static void turned_input_gradient(const network *net, int64_t l, const blocks *b) {
    const layer *here = &net->layers[l], *below = here - 1;
    int64_t columns = panel_width(here->fan_in, b->panel), valid = least(PANEL, here->fan_in - b->panel * PANEL);
    int64_t whole = here->fan_out / PANEL * PANEL, top = b->row + (b->row_end - b->row - 1) / PANEL * PANEL;
    _Alignas(FM_ALIGNMENT) real sums[PANEL * PANEL];
    real *deltas = below->delta.values + b->panel * net->capacity * PANEL;
    for (int64_t k = 0, depth; k < here->fan_out; k += depth) {
        depth = k < whole ? least(DEPTH, whole - k) : here->fan_out - whole;
        for (int64_t row = b->row; row <= top; row += PANEL) {
            int64_t next = row + PANEL, at = k; /* the rows and terms after these, in the end those of the next block */
            if (row == top) {
                int last = k + depth == here->fan_out;
                at = last ? 0 : k + depth;
                next = !last ? b->row : b->row_end < b->rows ? b->row_end : 0;
            }
            int64_t width = padded(least(PANEL, b->rows - next));
            turned_terms(net, l, b, row, k, depth, here->turned + panel_at(next / PANEL, here->fan_out) + at * width,
                         row < top ? deltas + row * PANEL : sums);
        }
    }
    for (int64_t row = top; row >= b->row; row -= PANEL) {
        if (row < top) memcpy(sums, deltas + row * PANEL, (size_t)(valid * PANEL) * sizeof(real));
        memset(sums + valid * PANEL, 0, (size_t)((columns - valid) * PANEL) * sizeof(real));
        turn_back(sums, least(PANEL, b->row_end - row), columns, deltas + row * PANEL);
    }
}

/* My panels of rows of delta_l, turned for the function above. */
static void turn_delta(const network *net, int64_t l, int64_t rows, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l];
    int64_t begin, end;
    team_share(crew, thread, n_panels(rows), &begin, &end);
    turn_batch(here->delta.values, net->capacity * PANEL, rows, here->fan_out, here->turned, begin, end);
}

/* delta of layer l - 1: (delta_l Wt) f'. */
static void input_gradient(const network *net, int64_t l, const chunk *c, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l], *below = here - 1;
    int pairs = rounds(net->task);
    int64_t panel_size = net->capacity * PANEL, rows = c->rows, depth = depth_of(here->fan_out, pairs);
    drop drop_below;
    const drop *dropping = drop_of(net->task, l, c, &drop_below);
    if (!here->Wt && !here->turned && !has_many_weights(here->fan_in, here->fan_out)) {
        few_input_gradients(net, l, c, dropping, crew, thread);
        return;
    }
    _Alignas(FM_ALIGNMENT) real buffer[TILE_ROWS * PANEL];
    int64_t height = batch_block(crew, rows);
    if (here->turned && crew->n_threads > 1) /* few panels each: threads would share the work unevenly */
        height = n_panels(here->fan_in) < MANY_PANELS * crew->n_threads ? PANEL : rows;
    blocks b = my_blocks(crew, thread, n_panels(here->fan_in), rows, height);
    while (next_block(&b)) {
        int64_t width = panel_width(here->fan_in, b.panel);
        int64_t at = b.panel * panel_size + b.row * PANEL;
        if (!here->Wt) {
            if (here->turned) turned_input_gradient(net, l, &b);
            else inner_input_gradient(net, l, &b);
            differentiate(net, below, dropping, b.row, b.panel, b.row_end - b.row, width, below->delta.values + at);
            continue;
        }
        cut heights = cut_rows(b.row_end - b.row, tile_rows[width / VL], pairs);
        microkernel *const *kernels = product_kernels[FM_PAIRS && pairs][width / VL];
        tile product = {.a_panel_size = panel_size,
                        .a_ahead = panel_size,
                        .b = here->Wt + panel_at(b.panel, depth),
                        .depth = depth,
                        .initial = net->zeros};
        if (has_many_weights(here->fan_in, here->fan_out) && b.left > 0 && b.row_end == rows)
            ask_for(&product, product.b + depth * width, width, heights.tiles);
        for (int64_t i = b.row, n; i < b.row_end; i += n, product.later += (uintptr_t)depth * product.later_step) {
            n = next_tile(&heights);
            product.a = here->delta.across + i * PANEL;
            product.c = tile_values(&below->delta, b.panel * panel_size + i * PANEL, buffer);
            kernels[n](&product);
            differentiate(net, below, dropping, i, b.panel, n, width, product.c);
        }
    }
}

/* The same of one panel for all rows, few of them, in a layer with many weights. */
static void input_gradient_of_panel(const network *net, int64_t l, const chunk *c, int64_t panel) {
    const layer *here = &net->layers[l];
    drop drop_below;
    const drop *dropping = drop_of(net->task, l, c, &drop_below);
    blocks b = {.panel = panel, .row_end = c->rows};
    inner_input_gradient(net, l, &b);
    differentiate(net, here - 1, dropping, 0, panel, c->rows, panel_width(here->fan_in, panel),
                  here[-1].delta.values + panel * net->capacity * PANEL);
}

/* How the gradients of a chunk are used. */
typedef struct learning {
    const constants *numbers; /* of the step; NULL: more chunks of the batch follow */
    block_update *finish;     /* what is done with the sums of a batch; NULL: the micro-kernels do it in registers */
    int32_t stays;            /* the sums stay in memory */
    int32_t carry;            /* not the first chunk: go on from the sums in memory */
} learning;

/* A block of a layer for its update: of W from `at` on, or of b. */
static parameters_block block_of(const layer *here, int32_t biases, int64_t at, int64_t rows, int64_t width,
                                 real *gradient) {
    parameters_block block = {
        .rows = rows, .width = width, .gradient = gradient, .w = (biases ? here->params.b : here->params.W) + at};
    for (int s = 0; s < MAX_SLOTS; s++) block.slots[s] = advance(biases ? here->slots[s].b : here->slots[s].W, at);
    return block;
}

/* What the update of a block reads and writes, which may be far away: runs of lines, to be asked for while its gradient is
 * summed. */
typedef struct far_lines {
    /* Of W, the slots, and in bfloat16 the operands of W and of Wt: where each run goes on, and lines that are left of it. */
    uintptr_t at[MAX_SLOTS + 3];
    int64_t lines[MAX_SLOTS + 3];
    int32_t run, n_runs; /* run: the one that is asked for next */
} far_lines;

static void add_run(far_lines *wanted, const real *at, int64_t n) {
    if (!at) return;
    wanted->at[wanted->n_runs] = (uintptr_t)at, wanted->lines[wanted->n_runs++] = n / LANES;
}

/* Of a block of W, its slots and its operands. Near ones are not worth asking for: measured. */
static far_lines far_from(const layer *here, const blocks *b, const parameters_block *block, int pairs) {
    far_lines wanted = {0};
    int64_t n = block->rows * block->width;
    if (!ASKS || here->fan_in * here->fan_out < (pairs ? MANY_WEIGHTS : FAR_WEIGHTS)) return wanted;
    add_run(&wanted, block->w, n);
    for (int s = 0; s < MAX_SLOTS; s++) add_run(&wanted, block->slots[s], n);
    if (!pairs) return wanted;
    int64_t W_at = panel_at(b->panel, depth_of(here->fan_in, 1)) + b->row / TERMS * block->width;
    int64_t columns = panel_width(here->fan_in, b->row / PANEL); /* of a panel of Wt */
    int64_t Wt_at = panel_at(b->row / PANEL, depth_of(here->fan_out, 1)) + b->panel * PANEL / TERMS * columns;
    add_run(&wanted, advance(here->W, W_at), n / TERMS);
    add_run(&wanted, advance(here->Wt, Wt_at), n / TERMS);
    return wanted;
}

/* The next of them, one for each term of a tile. */
static void ask_for_lines(tile *t, far_lines *wanted) {
    t->lines = 0;
    if (wanted->run == wanted->n_runs) return;
    t->later = wanted->at[wanted->run], t->lines = least(t->depth, wanted->lines[wanted->run]);
    wanted->at[wanted->run] += (uintptr_t)(t->lines * LANES) * sizeof(real);
    wanted->lines[wanted->run] -= t->lines;
    if (wanted->lines[wanted->run] == 0) wanted->run++;
}

/* What a tile of n elements needs at its end, W, or the next one before it begins, its sums; at once where the sum is short. A line
 * with each row of A and B otherwise: many at once would keep those waiting. */
static void ask_for_sums(tile *t, int64_t n) {
    const real *at = t->initial_stride ? t->c + n : t->c;
    if (!t->update && !t->initial_stride) return;
    if (ASKS && t->depth >= LONG_SUM) t->later = (uintptr_t)at, t->lines = n / LANES;
    else
        for (int64_t i = 0; i < n; i += LANES) __builtin_prefetch(at + i, 1);
}

/* Block of dW for rows [row, row_end), into c: `initial` are the sums so far, or NULL; with `update` c is W, and the
 * kernels update it themselves; else they ask for what is `wanted`. */
static void gradient_block_of(const network *net, int64_t l, const blocks *b, int64_t rows, const real *initial,
                              real *c, const constants *update, real *squares, far_lines *wanted) {
    const layer *here = &net->layers[l];
    int64_t width = panel_width(here->fan_out, b->panel),
            panel_size = depth_of(net->capacity, rounds(net->task)) * PANEL;
    const operand *A = l ? net->layers[l - 1].A.down : net->X.down;
    int paired = FM_PAIRS && rounds(net->task);
    tile sums = {.b = here->delta.down + b->panel * panel_size,
                 .depth = depth_of(rows, rounds(net->task)),
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
        if (update && rows == 1 && !rounds(net->task)) {
            outer_product_kernels[width / VL](&sums, end - k);
            sums.c += (end - k) * width;
            continue;
        }
        cut heights = cut_rows(end - k, tile_rows[width / VL], paired);
        while (heights.tiles > 0) {
            int64_t n = next_tile(&heights),
                    odd = paired && n > 1 ? n % 2 : 0; /* pairs have no kernel of such a height */
            for (int64_t part = n - odd; n > 0; n -= part, part = n) {
                if (wanted) ask_for_lines(&sums, wanted);
                else ask_for_sums(&sums, part * width);
                weight_gradient_kernels[paired][width / VL][part](&sums);
                sums.a += part;
                sums.c += part * width;
                sums.initial += part * sums.initial_stride;
            }
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
    int in_bfloat16 = rounds(net->task);
    const operand *delta = here->delta.down + panel * depth_of(net->capacity, in_bfloat16) * PANEL;
    real *db = how.stays ? here->gradient.b + at : block;
    const real *initial = how.carry ? here->gradient.b + at : net->zeros;
    column_sums_kernels[width / VL](delta, depth_of(rows, in_bfloat16), initial, db, FM_PAIRS && in_bfloat16);
    if (!how.numbers) return;
    constants numbers = numbers_of(net->task, how.numbers, l, 1);
    parameters_block biases = block_of(here, 1, at, 1, width, db);
    biases.norm = advance(here->norm, sums_at(here, row_blocks(here), panel));
    (how.finish ? how.finish : optimizers[net->task->optimizer.kind].block)(&numbers, &biases);
}

/* The operands of a block of W after its update: of all rows, or of the few that the rows of X have values for. */
static void refresh_changed(const network *net, int64_t l, const blocks *b, int32_t few) {
    const layer *here = &net->layers[l];
    const int64_t *start = net->sparse.column_start;
    for (int64_t i = b->row, end; i < b->row_end; i = end) {
        end = few ? least(i + 2, b->row_end) : b->row_end;
        if (!few || start[i] < start[end]) refresh_operands(here, b->panel, i, end);
    }
}

/* The gradient of a block for a batch of one row, as factors. Those that are elements of A come to lie next to each other in
 * `a`. Inlined, it slowed its caller for larger batches. */
static NOT_INLINE void outer_gradient_of(const network *net, int64_t l, const blocks *b, real *a,
                                         parameters_block *weights) {
    int64_t panel_size = net->capacity * PANEL;
    const real *A = (const real *)(l ? net->layers[l - 1].A.down : net->X.down) + b->row / PANEL * panel_size;
    for (int64_t i = 0; i < weights->rows; i += PANEL, A += panel_size)
        memcpy(a + i, A, (size_t)least(PANEL, weights->rows - i) * sizeof(real));
    weights->a = a, weights->delta = (const real *)net->layers[l].delta.down + b->panel * panel_size;
}

/* A block of W of layer l: its gradient, and the use of that; with its first rows the biases of its columns. `numbers` are
 * those of the weights. The next block begins about `ahead` elements after this one. */
static void learn_block(const network *net, int64_t l, const blocks *b, int64_t rows, learning how,
                        const constants *numbers, real *block, int64_t ahead) {
    const layer *here = &net->layers[l];
    int32_t sparse = l == 0 && !net->X.across, scaled = l == 0 && net->scale.s, pairs = rounds(net->task);
    if (FM_PAIRS && pairs && !how.finish && !sparse) how.finish = optimizers[net->task->optimizer.kind].block;
    int64_t width = panel_width(here->fan_out, b->panel), at = panel_at(b->panel, here->fan_in) + b->row * width;
    int64_t sums = sums_at(here, b->row / BLOCK_ROWS, b->panel);
    if (how.numbers && !how.finish) {
        real *squares = advance(here->penalty, sums);
        if (squares) memset(squares, 0, (size_t)width * sizeof(real));
        gradient_block_of(net, l, b, rows, NULL, here->params.W + at, numbers, squares, NULL);
    } else {
        real *dW = how.stays ? here->gradient.W + at : block;
        parameters_block weights = block_of(here, 0, at, b->row_end - b->row, width, dW);
        far_lines wanted = far_from(here, b, &weights, pairs);
        if (rows == 1 && !how.carry && !how.stays && !sparse && !scaled && !pairs)
            outer_gradient_of(net, l, b, block, &weights);
        else
            gradient_block_of(net, l, b, rows, how.carry ? here->gradient.W + at : NULL, dW, NULL, NULL,
                              how.numbers && wanted.n_runs ? &wanted : NULL);
        /* Measured with AVX2. Where tiles ask, only of one row, which has no tiles. */
        if ((weights.a || !ASKS) && has_many_weights(here->fan_in, here->fan_out)) weights.ahead = ahead;
        weights.penalty = advance(here->penalty, sums), weights.norm = advance(here->norm, sums);
        if (how.numbers && scaled) unscale_block(&net->scale, &weights, b->panel, b->row, at);
        if (how.numbers) how.finish(numbers, &weights);
    }
    if (how.numbers && pairs) refresh_changed(net, l, b, sparse && !how.finish && !here->penalty);
    if (b->row == 0) bias_gradient(net, l, b->panel, rows, how, block);
}

/* Gradients of W and b of layer l, and their use. Reads delta_l and A_(l-1), writes W, b and the slots. */
static void weight_gradient(const network *net, int64_t l, int64_t rows, learning how, const team *crew,
                            int32_t thread) {
    const layer *here = &net->layers[l];
    constants numbers = {0};
    if (how.numbers) numbers = numbers_of(net->task, how.numbers, l, 0);
    for (blocks b = my_blocks(crew, thread, n_panels(here->fan_out), here->fan_in, BLOCK_ROWS); next_block(&b);)
        learn_block(net, l, &b, rows, how, &numbers, net->blocks + thread * BLOCK_ROWS * PANEL, BLOCK_ROWS * PANEL);
}

/* Whether both gradients of a block of rows of W follow each other, so that W is still near when it is updated: to fetch it is
 * most of the work for a few rows. */
static int learns_at_once(const network *net, int64_t l, const team *crew) {
    const layer *here = &net->layers[l];
    return l > 0 && few_rows_read_W(net, l) && !rounds(net->task) && has_many_weights(here->fan_in, here->fan_out) &&
           row_blocks(here) >= 4 * crew->n_threads;
}

/* My blocks of rows of such a layer. */
static void gradients_at_once(network *net, int64_t l, const chunk *c, learning how, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l];
    constants numbers = {0};
    if (how.numbers) numbers = numbers_of(net->task, how.numbers, l, 0);
    int64_t block, end; /* of rows */
    team_share(crew, thread, row_blocks(here), &block, &end);
    for (; block < end; block++) {
        int64_t row = block * BLOCK_ROWS, row_end = least(row + BLOCK_ROWS, here->fan_in);
        for (int64_t p = row / PANEL; p * PANEL < row_end; p++) input_gradient_of_panel(net, l, c, p);
        layer_lap(net, thread, l, PHASE_INPUT_GRADIENT);
        for (int64_t j = 0; j < n_panels(here->fan_out); j++) {
            blocks b = {.panel = j, .row = row, .row_end = row_end};
            learn_block(net, l, &b, c->rows, how, &numbers, net->blocks + thread * BLOCK_ROWS * PANEL,
                        panel_at(1, here->fan_in));
        }
        layer_lap(net, thread, l, PHASE_WEIGHT_GRADIENT);
    }
}

/* My blocks of all layers with the gradient in scratch: an update, or gradient_block for its norm. */
static void use_gradient(const network *net, block_update *use, const constants *numbers, const team *crew,
                         int32_t thread) {
    for (int64_t l = net->n_layers - 1; l >= 0; l--) {
        const layer *here = &net->layers[l];
        constants of_W = numbers_of(net->task, numbers, l, 0), of_biases = numbers_of(net->task, numbers, l, 1);
        for (blocks b = my_blocks(crew, thread, n_panels(here->fan_out), here->fan_in, BLOCK_ROWS); next_block(&b);) {
            int64_t width = panel_width(here->fan_out, b.panel), at = panel_at(b.panel, here->fan_in) + b.row * width;
            parameters_block W = block_of(here, 0, at, b.row_end - b.row, width, here->gradient.W + at);
            W.norm = advance(here->norm, sums_at(here, b.row / BLOCK_ROWS, b.panel));
            use(&of_W, &W);
            if (rounds(net->task) && net->task->job == FM_TRAIN) refresh_operands(here, b.panel, b.row, b.row_end);
            if (b.row > 0) continue;
            at = b.panel * PANEL;
            parameters_block biases = block_of(here, 1, at, 1, width, here->gradient.b + at);
            biases.norm = advance(here->norm, sums_at(here, row_blocks(here), b.panel));
            use(&of_biases, &biases);
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
