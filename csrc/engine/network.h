/* network.h: the layers forward, outputs and their loss; each function is the share of one thread.
 *
 * Work is cut into blocks: (panel of columns) x (block of rows), numbered down the columns first, and each thread takes a
 * contiguous share: wide layers split by weight columns, which stay in their owner's cache, narrow ones by rows.
 */

typedef struct blocks {
    int64_t left;                 /* blocks of this thread to come */
    int64_t next_panel, next_row; /* where the next begins */
    int64_t rows, height;         /* rows in all, rows of a block */
    int64_t panel, row, row_end;  /* OUT of next_block */
} blocks;

static blocks my_blocks(const team *crew, int32_t thread, int64_t panels, int64_t rows, int64_t height) {
    int64_t per_panel = rows <= height ? 1 : (rows + height - 1) / height, begin, end;
    team_share(crew, thread, panels * per_panel, &begin, &end);
    blocks b = {.left = end - begin, .rows = rows, .height = height};
    if (begin > 0) b.next_panel = begin / per_panel, b.next_row = begin % per_panel * height;
    return b;
}

static int next_block(blocks *b) {
    if (b->left-- <= 0) return 0;
    b->panel = b->next_panel;
    b->row = b->next_row;
    b->row_end = least(b->row + b->height, b->rows);
    b->next_row = b->row_end < b->rows ? b->row_end : 0;
    b->next_panel += b->next_row == 0;
    return 1;
}

/* Batch rows of a block: all of them for one thread, else a multiple of every tile's rows. */
static int64_t batch_block(const team *crew, int64_t rows) { return crew->n_threads == 1 ? rows : 48; }

/* Where the values of a tile whose first element is at `at` lie, or are to lie for a moment. */
INLINE real *tile_values(const batch_matrix *m, int64_t at, real *buffer) {
    return m->values ? m->values + at : buffer;
}
/* The epilogue of the forward product: z -> a, for the tile of a layer whose first element is at (row, panel) of the chunk;
 * then dropout, if any. */
INLINE void activate(const network *net, const layer *here, const chunk *c, const drop *dropping, int64_t row,
                     int64_t panel, int64_t n, int64_t width, real *z) {
    if (!here->f) return;                        /* the last layer keeps its logits */
    int64_t pad = here->fan_out - panel * PANEL; /* a column that makes a pair whole stays 0 where sums are infinite */
    for (int64_t r = 0; rounds(net->task) && pad % 2 && pad < width && r < n; r++) z[r * PANEL + pad] = 0;
    int64_t at = panel * net->capacity * PANEL + row * PANEL;
    here->f->tile(z, advance(here->slopes, at), n, width);
    if (dropping) drop_tile(dropping, c->place + row, panel * PANEL, z, n, width);
    if (rounds(net->task)) keep_operands(net, &here->A, z, row, panel, n, width);
}

/* The operands that layer l reads; NULL: CSR. */
static const operand *input_of(const network *net, int64_t l) {
    return l ? net->layers[l - 1].A.across : net->X.across;
}

/* A part of W that is being packed, some rows at a time. */
typedef struct packing {
    const real *W;                   /* flat, all of the layer */
    int64_t n, begin, end;           /* columns of W; panels of the part: [begin, end) */
    int64_t first, row, asked, last; /* rows of W: of the part; to be packed next; asked for; the end */
    int64_t size;                    /* operands from one packed panel to the next */
    int32_t pairs;
    operand *packed;
} packing;

/* Of layer l from term k and panel j on; no rows where j is `end`, behind the last panel that is wanted. */
static packing packing_of(const network *net, int64_t l, part most, int64_t k, int64_t j, int64_t end,
                          operand *packed) {
    const fm_task *task = net->task;
    int64_t terms = rounds(task) ? TERMS : 1, row = k * terms;
    if (j >= end) return (packing){0};
    return (packing){.W = (const real *)task->params + flat_W(task, l),
                     .n = task->n_units[l + 1],
                     .begin = j,
                     .end = least(j + most.panels, end),
                     .first = row,
                     .row = row,
                     .asked = row,
                     .last = least(row + most.terms * terms, task->n_units[l]),
                     .size = most.terms * PANEL,
                     .pairs = rounds(task),
                     .packed = packed};
}

/* The next n rows, an even number, or what is left. `asks`: some later ones are asked for. */
INLINE void pack_rows(packing *p, int64_t n, const int asks) {
    int64_t rows = least(n, p->last - p->row), row = p->row - p->first, place = p->pairs ? row / TERMS : row;
    for (int64_t j = p->begin; j < p->end; j++) {
        int64_t width = panel_width(p->n, j), valid = least(width, p->n - j * PANEL);
        const real *flat = p->W + p->row * p->n + j * PANEL;
        operand *to = p->packed + (j - p->begin) * p->size + place * width;
        if (p->pairs) pack_operands(flat, rows, p->n, width, valid, to, asks);
        else pack_panel(flat, rows, p->n, width, valid, (real *)to, asks);
    }
    p->row += rows;
}

/* Before each tile of a product: a row of the next part is asked for, to be packed a few tiles later, while it is near. */
static void pack_meanwhile(packing *p, tile *product) {
    if (p->asked - p->row >= 4 || (p->asked == p->last && p->row < p->last)) pack_rows(p, 2, 0);
    product->later_step = 0;
    if (p->asked >= p->last) return;
    uintptr_t bytes = (uintptr_t)((p->end - p->begin) * PANEL) * sizeof(real), depth = (uintptr_t)product->depth;
    product->later = (uintptr_t)(p->W + p->asked++ * p->n + p->begin * PANEL);
    product->later_step = (bytes + depth - 1) / depth;
}

/* Terms [k, k + depth) of the sums of a block, with B, the rows of a weight panel from k on; after the last, the epilogue.
 * Meanwhile `next` is packed, if it is not NULL. */
INLINE void add_terms(const network *net, int64_t l, const chunk *c, const drop *dropping, const blocks *b,
                      const operand *B, int64_t k, int64_t depth, packing *next) {
    const layer *here = &net->layers[l];
    const operand *A = input_of(net, l);
    int pairs = rounds(net->task), last = k + depth == depth_of(here->fan_in, pairs);
    int64_t panel_size = net->capacity * PANEL, width = panel_width(here->fan_out, b->panel);
    microkernel *const *kernels = product_kernels[FM_PAIRS && pairs][width / VL];
    _Alignas(FM_ALIGNMENT) real buffer[TILE_ROWS * PANEL];
    tile product = {.a_panel_size = panel_size,
                    .a_ahead = panel_size,
                    .b = B,
                    .depth = depth,
                    .initial = here->params.b + b->panel * PANEL};
    cut heights = cut_rows(b->row_end - b->row, tile_rows[width / VL], pairs);
    if (here->W && has_many_weights(here->fan_in, here->fan_out) && (!last || (b->left > 0 && b->row_end == c->rows)))
        ask_for(&product, B + depth * width, width, heights.tiles);
    if (A) A += k / PANEL * panel_size;
    for (int64_t i = b->row, n; i < b->row_end; i += n, product.later += (uintptr_t)depth * product.later_step) {
        n = next_tile(&heights);
        if (next) pack_meanwhile(next, &product);
        product.c = tile_values(&here->A, b->panel * panel_size + i * PANEL, buffer);
        if (k) product.initial = product.c, product.initial_stride = PANEL;
        if (A) product.a = A + i * PANEL, kernels[n](&product);
        else sparse_product_kernels[width / VL](&net->sparse, i, n, &product);
        if (last) activate(net, here, c, dropping, i, b->panel, n, width, product.c);
    }
}

/* A = f(A_prev W + b) for layer l. */
static void forward(const network *net, int64_t l, const chunk *c, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l];
    drop drop_here;
    const drop *dropping = l < net->n_layers - 1 ? drop_of(net->task, l + 1, c, &drop_here) : NULL;
    int64_t all = depth_of(here->fan_in, rounds(net->task)), most = input_of(net, l) && here->A.values ? DEPTH : all;
    blocks b = my_blocks(crew, thread, n_panels(here->fan_out), c->rows, batch_block(crew, c->rows));
    while (next_block(&b)) {
        const operand *B = here->W + panel_at(b.panel, all);
        int64_t width = panel_width(here->fan_out, b.panel);
        for (int64_t k = 0; k < all; k += most)
            add_terms(net, l, c, dropping, &b, B + k * width, k, least(most, all - k), NULL);
    }
}

/* My columns of A = f(A_prev W + b), where W is packed a part at a time: the next one while this one is used. */
static void forward_packing(const network *net, int64_t l, const chunk *c, operand *packed, const team *crew,
                            int32_t thread) {
    const layer *here = &net->layers[l];
    const part most = part_of(net, l);
    int64_t all = depth_of(here->fan_in, rounds(net->task)), size = most.terms * most.panels * PANEL, first, last;
    team_share(crew, thread, n_panels(here->fan_out), &first, &last);
    int32_t ahead = ASKS && most.panels > 1;
    packing next = packing_of(net, l, most, 0, first, last, packed);
    for (int64_t j = first; j < last; j += most.panels)
        for (int64_t k = 0; k < all; k += most.terms) {
            packing now = next;
            while (now.row < now.last) pack_rows(&now, most.panels > 1 ? 2 : now.last - now.row, 1);
            int64_t depth = least(most.terms, all - k), end = least(j + most.panels, last), over = k + depth == all;
            operand *other = ahead && now.packed == packed ? packed + size : packed;
            next = packing_of(net, l, most, over ? 0 : k + depth, over ? end : j, last, other);
            for (blocks b = {.panel = j, .row_end = c->rows}; b.panel < end; b.panel++)
                add_terms(net, l, c, NULL, &b, now.packed + (b.panel - j) * most.terms * PANEL, k, depth,
                          ahead ? &next : NULL);
        }
}

/* Some columns of a layer of a prediction that reads W where it lies in the parameters; Z holds the biases. */
typedef struct flat_layer {
    const operand *A;      /* NULL: CSR */
    int pairs;             /* in bfloat16 */
    const real *W, *W_end; /* from those columns on; nothing may be read at W_end or beyond */
    int64_t fan_in, fan_out, columns;
    real *Z;
} flat_layer;

/* Rows of W of which a line each finds room in L1, though they may fall into the same sets. */
static int64_t rows_in_L1(int64_t columns) {
    int64_t bytes = columns * (int64_t)sizeof(real);
    return L1_BYTES / least(bytes & -bytes, L1_WAY);
}

/* Whether each tile in turn goes through some whole rows of W: measured, where W is near or its lines fall into few sets. */
static int tiles_take_turns(const flat_layer *f, int64_t rows) {
    int few_sets = rows_in_L1(f->fan_out) < FLAT_DEPTH, nearby = f->fan_in * f->fan_out < FAR_WEIGHTS;
    if (!ONE_LINE || f->pairs || f->columns < f->fan_out || !(few_sets || nearby)) return 0;
    return rows <= (few_sets ? 2 : 4) * tile_rows[TILE_VECS];
}

/* As many rows of W at once as the CPU prefetches well: fewer where W is far away, or the products between are short; and where it
 * is near, as many as FLAT_DEPTH terms need. */
static int64_t rows_in_place(const flat_layer *f, int64_t rows) {
    int64_t weights = f->fan_in * f->fan_out, short_products = rows <= tile_rows[TILE_VECS];
    int64_t most = short_products && weights > MANY_WEIGHTS ? FLAT_DEPTH / 4 : FLAT_DEPTH;
    if (ONE_LINE && (short_products || tiles_take_turns(f, rows))) return least(most, rows_in_L1(f->fan_out));
    if (most < FLAT_DEPTH) return most;
    if (weights >= FAR_WEIGHTS) return FLAT_DEPTH / 2;
    return f->pairs ? FLAT_DEPTH * TERMS : FLAT_DEPTH;
}

/* Where narrower tiles hold all rows in one, tiles are narrower. Otherwise, unless they take turns, the first packs its block of W
 * for the others, and each of those asks for one more line of the same rows of W. */
static NOT_INLINE void product_in_place(const flat_layer f, int64_t rows, int64_t panel_size) {
    _Alignas(FM_ALIGNMENT) real packed[FLAT_DEPTH * PANEL];
    int64_t n = f.fan_out, whole = f.columns / PANEL * PANEL, terms = f.pairs ? TERMS : 1;
    int narrow = rows > tile_rows[TILE_VECS] && rows <= tile_rows[TILE_VECS / 2];
    int64_t widths[] = {narrow ? TILE_VECS / 2 : TILE_VECS, panel_width(f.columns, n_panels(f.columns) - 1) / VL};
    cut heights[] = {cut_rows(rows, tile_rows[widths[0]], f.pairs), cut_rows(rows, tile_rows[widths[1]], f.pairs)};
    int64_t most = rows_in_place(&f, rows), turns = tiles_take_turns(&f, rows);
    for (int64_t k = 0; k < f.fan_in; k += most) {
        int64_t n_rows = least(most, f.fan_in - k), at = k / terms;
        int packs = f.pairs && n_rows % 2;
        tile product = {.a_panel_size = panel_size,
                        .a_ahead = panel_size,
                        .b_stride = n,
                        .depth = depth_of(n_rows, f.pairs),
                        .later_step = (uintptr_t)n * sizeof(real),
                        .initial_stride = PANEL};
        for (int64_t j = 0; j < f.columns; j += product.columns) {
            const real *W = f.W + k * n + j;
            int64_t width = widths[j == whole] * VL;
            int at_end = f.W_end - W < (n_rows - 1) * n + width;
            cut left = heights[j == whole];
            microkernel *const *packed_kernels = product_kernels[FM_PAIRS && f.pairs][width / VL];
            microkernel *const *kernels = packed_kernels;
            product.a = f.A + at / PANEL * panel_size + at % PANEL;
            product.c = f.Z + j / PANEL * panel_size + j % PANEL; /* within a panel where narrow blocks are packed */
            product.columns = (left.tiles > 1 && !turns) || j == whole || packs ? width : whole;
            product.packed = left.tiles > 1 && !turns ? packed : NULL;
            product.later = (uintptr_t)(W + width + 2 * LANES - 1);
            product.b = packed;
            if (packs || (f.pairs && at_end))
                pack_operands(W, n_rows, n, width, least(width, f.columns - j), packed, 0);
            else if (at_end) pack_panel(W, n_rows, n, width, f.columns - j, packed, 0);
            else product.b = W, kernels = flat_product_kernels[f.pairs][width / VL];
            for (int64_t height; left.tiles > 0; product.a += height * PANEL, product.c += height * PANEL) {
                height = next_tile(&left);
                product.initial = product.c;
                kernels[height](&product);
                product.later += LANES * sizeof(real);
                if (!turns) product.b = packed, kernels = packed_kernels;
            }
        }
    }
}

/* The same where A is CSR: a row of W for each value. */
static void sparse_product_in_place(const flat_layer f, const sparse_rows *x, int64_t rows, int64_t panel_size) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = x->row_start[i]; k < x->row_start[i + 1]; k++)
            (f.pairs ? add_flat_pairs : add_flat_row)(x->value[k], f.W + x->column[k] * f.fan_out, f.W_end, f.columns,
                                                      f.Z + i * PANEL, panel_size);
}

/* My columns of such a layer, in strips whose sums stay in the cache. */
static void forward_in_place(const network *net, int64_t l, const chunk *c, const team *crew, int32_t thread) {
    const layer *here = &net->layers[l];
    const real *params = net->task->params;
    int64_t begin, end, n = here->fan_out, panel_size = net->capacity * PANEL,
                        strip = CACHED_SUMS / (c->rows * PANEL) * PANEL;
    flat_layer f = {.A = input_of(net, l),
                    .pairs = rounds(net->task),
                    .W_end = params + flat_b(net->task, net->n_layers),
                    .fan_in = here->fan_in,
                    .fan_out = n};
    team_share(crew, thread, n_panels(n), &begin, &end);
    end = least(end * PANEL, n);
    for (int64_t column = begin * PANEL; column < end; column += f.columns) {
        f.columns = least(strip, end - column);
        f.W = params + flat_W(net->task, l) + column;
        f.Z = here->A.values + column / PANEL * panel_size;
        int64_t j = column / PANEL, last = j + n_panels(f.columns);
        for (real *Z = f.Z; j < last; j++, Z += panel_size)
            for (int64_t i = 0; i < c->rows; i++)
                memcpy(Z + i * PANEL, here->params.b + j * PANEL, (size_t)panel_width(n, j) * sizeof(real));
        if (f.A) product_in_place(f, c->rows, panel_size);
        else sparse_product_in_place(f, &net->sparse, c->rows, panel_size);
        j = column / PANEL;
        for (real *Z = f.Z; j < last; j++, Z += panel_size)
            activate(net, here, c, NULL, 0, j, c->rows, panel_width(n, j), Z);
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
        real *rows = here->A.values + i * PANEL;
        rows_to_columns(rows, panel_size, valid, here->fan_out, z);
        vec loss = losses[task->loss].columns(task, z, targets, here->fan_out, vec_load(weight));
        vec_store(net->row_loss + i, loss);
        columns_to_rows(z, here->fan_out, rows, panel_size, valid);
        for (int64_t j = 0; j < n_panels(here->fan_out) && rounds(task); j++)
            keep_operands(net, &here->delta, rows + j * panel_size, i, j, valid, panel_width(here->fan_out, j));
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
        real *rows = here->A.values + i * PANEL;
        rows_to_columns(rows, panel_size, valid, n_outputs, z);
        losses[task->loss].link(z, n_outputs);
        columns_to_rows(z, n_outputs, rows, panel_size, valid);
        for (int64_t r = 0; r < valid; r++)
            for (int64_t j = 0; j < n_panels(n_outputs); j++)
                memcpy((real *)task->outputs + (c->first + i + r) * n_outputs + j * PANEL,
                       rows + j * panel_size + r * PANEL, (size_t)least(PANEL, n_outputs - j * PANEL) * sizeof(real));
    }
}
