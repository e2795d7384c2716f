/* scratch.h: the network of one call: size of, and pointers into, the one scratch block.
 *
 * A batch longer than chunk_rows is computed in chunks of rows; its gradients then add up in memory, in the same order.
 */
enum {
    CHUNK_ROWS = 256,
    LONG_CHUNK_ROWS = 1024, /* at most, of a prediction that packs W a part at a time */
    LEAST_CHUNK = 32,       /* rows that are worth a thread of a prediction */
    CHUNKS_EACH = 4,        /* chunks of each thread, if the network is small: who begins late takes fewer */
    WIDE_WEIGHTS = 1 << 22, /* of a layer that wants longer chunks; ... */
    WIDE_UNITS = 1024,      /* ... in a prediction, if it has so many inputs and outputs */
    BLOCK_ROWS = 64,        /* fan-in rows of W in one block of the update */
    CACHED_SUMS = (1 << 18) / (int)sizeof(real), /* sums of a layer that stay in L2, where W is read where it lies */
    FEW_ROWS = 64,         /* of a prediction that reads W where it lies; twice as many, but in bfloat16, if ... */
    FAR_WEIGHTS = 5 << 18, /* ... the largest layer has MANY_WEIGHTS, but not so many, which lie far away */
    FEW_TRAINED_ROWS = 4,  /* an input gradient of no more rows reads W where it lies, ... */
    FEW_INNER_ROWS = 8,    /* ... or of no more, in a layer with ... */
    MANY_WEIGHTS = 1 << 18,
    SMALL_NETWORK = 1 << 19, /* bytes of parameters, which one thread packs about as soon as another one begins */
    LEAST_TURNED = 12,       /* rows of a chunk whose delta is turned round, ... */
    TURNED_SHARE = 4,        /* ... which has so many times as many inputs of the layer, at least */
    MANY_PANELS = 8,         /* of a thread, which then takes whole ones */
};
_Static_assert(CACHED_SUMS >= 2 * FEW_ROWS * PANEL, "a strip of columns would be empty");
_Static_assert(BLOCK_ROWS % LANES == 0, "the operands of a block would begin within a pair, or within a register");

/* p + n, or NULL. */
INLINE real *advance(real *p, int64_t n) { return p ? p + n : NULL; }

/* A vector of all parameters as it lies in scratch, the share of one layer. */
typedef struct share {
    real *W; /* weight panels (fan_in, fan_out); NULL: not here */
    real *b; /* (padded fan_out) */
} share;

/* Layer l: all of it in scratch. */
typedef struct layer {
    int64_t fan_in, fan_out;
    const activation *f; /* NULL: of the last layer, whose outputs belong to the loss */
    share params;        /* W NULL: packed a part at a time, or not at all; or only its operands are here */
    share slots[MAX_SLOTS];
    share gradient; /* sums over a batch of several chunks, or what is asked for; NULL: never in memory */
    operand *W; /* weight panels (depth of fan_in, fan_out): params.W, or in bfloat16 what is made of it; NULL: packed a
                    part at a time, or not at all, or no product needs it */
    operand *Wt;  /* weight panels (depth of fan_out, fan_in): the transpose; NULL for layer 0, where rows are few, and
                    where nothing is differentiated */
    real *turned; /* weight panels (fan_out, capacity): the transpose of delta, shared by all layers; or NULL */
    batch_matrix A;     /* (capacity, fan_out): output; of the last layer: logits, then delta */
    real *slopes;       /* batch panels (capacity, fan_out): f'(Z), where A does not tell it; or NULL */
    batch_matrix delta; /* (capacity, fan_out): dL/dZ; of the last layer, and where nothing is differentiated: A */
    real *penalty;      /* (blocks of fan_in, padded fan_out): sums of w^2 or of the penalty; NULL: there is none */
    real *norm; /* (blocks of fan_in + 1, padded fan_out): sums of the gradient^2, biases last; NULL: not wanted */
} layer;

/* The learned factors of the inputs, where there are any. */
typedef struct input_scale {
    int64_t size, groups;   /* padded inputs; groups of LANES columns of W_0 */
    real *s;                /* (size,); NULL: there are none */
    real *slots[MAX_SLOTS]; /* (size,) each */
    real *W;                /* weight panels of the unscaled W_0 */
    real *dots; /* (groups, size): inner products of rows of the unscaled W_0 and of dW_0, LANES columns each */
} input_scale;

typedef struct network {
    fm_task *task;
    layer *layers;
    int64_t n_layers;
    int64_t capacity; /* rows of a chunk at the most, even in bfloat16 */
    batch_matrix X;   /* (capacity, n_units[0]); across NULL: layer 0 uses `sparse` */
    real *staging;    /* (n_threads, staging_size): bfloat16: batch panels of two rows of X on their way to operands */
    int64_t staging_size;
    input_scale scale;
    real *row_loss; /* (capacity rounded up to VL,) */
    real *columns;  /* (n_threads, columns_size): VL rows of logits and of targets as columns, and of target rows */
    int64_t columns_size;
    operand *part;       /* where a part of W and the next one are packed, of the longest layer; or NULL */
    real *zeros;         /* (PANEL,) */
    real *blocks;        /* (n_threads, BLOCK_ROWS * PANEL): a block of dW on its way to the optimizer */
    sparse_rows sparse;  /* the chunk's rows of a CSR X, where X.across is NULL */
    integer *not_finite; /* (n_threads,) OUT: 0 where the thread's share of the parameters (predict: of X) is finite */
    struct network
        *workers; /* loss, predict: (n_threads,) networks that share W and b, and the chunk if it is the only one */
    real *losses; /* loss: (n_rows,) of each row */
    int64_t next_chunk; /* loss, predict: taken by the threads */
    int32_t stop;       /* set by thread 0 before a barrier: status to return, or 0 to go on */
    double start_seconds;
    double lap_seconds; /* with FM_TIMERS: the end of the last phase */
    double batch_loss;  /* weighted sum over the rows of the batch so far; thread 0's */
} network;

/* Take n elements of the given size, aligned; base == NULL: only count. */
static void *carve(char *base, int64_t *used, int64_t n, size_t size) {
    char *p = base ? base + *used : NULL;
    *used += (n * (int64_t)size + FM_ALIGNMENT - 1) / FM_ALIGNMENT * FM_ALIGNMENT;
    return p;
}

static int64_t batch_panels_size(const network *net, int64_t columns) {
    return n_panels(columns) * PANEL * net->capacity;
}

/* What is wanted of a matrix; in float32 and float64 the values are the operands. */
static batch_matrix carve_batch_matrix(const network *net, int64_t columns, int values, int across, int down,
                                       char *base, int64_t *used) {
    batch_matrix m = {0};
    if (values) m.values = carve(base, used, batch_panels_size(net, columns), sizeof(real));
    if (!rounds(net->task)) return (batch_matrix){m.values, (operand *)m.values, (operand *)m.values};
    if (across) m.across = carve(base, used, batch_panels_size(net, depth_of(columns, 1)), sizeof(operand));
    if (down) m.down = carve(base, used, batch_panels_size(net, columns) / TERMS, sizeof(operand));
    return m;
}

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

/* Jobs that compute gradients of rows, and jobs that update parameters. */
static int differentiates(const fm_task *task) { return task->job == FM_TRAIN || task->job == FM_GRADIENT; }
static int updates(const fm_task *task) { return task->job == FM_TRAIN || task->job == FM_APPLY; }

/* Whether an update waits for the norm of the gradient of all parameters. */
static int clips(const fm_task *task) { return updates(task) && task->clip_norm > 0; }

/* Whether a layer has so many weights, and so many inputs and outputs, at least. */
static int is_wide(const fm_task *task, int64_t weights, int64_t units) {
    for (const int64_t *n = task->n_units; n < task->n_units + task->n_layers; n++)
        if (n[0] * n[1] >= weights && least(n[0], n[1]) >= units) return 1;
    return 0;
}

/* Whether W is packed a part at a time, when its turn comes: a forward pass over one chunk uses each weight once. And one over
 * long chunks hides the packing. */
static int streams_weights(const fm_task *task) {
    if (differentiates(task) || task->job == FM_APPLY) return 0;
    return task->n_rows <= CHUNK_ROWS || (is_wide(task, WIDE_WEIGHTS, WIDE_UNITS) && !task->X.indices);
}

/* And a prediction of a few rows would spend more time on packing than on the product: measured, except with NEON. Fewer rows
 * where W is small or far away, or where a CSR X, which goes through W a row of X at a time, has more than a few values of each
 * column. */
static int reads_weights_in_place(const fm_task *task) {
    const fm_matrix *X = &task->X;
    int more = is_wide(task, MANY_WEIGHTS, 1) && !is_wide(task, FAR_WEIGHTS, 1);
    int64_t few = more && !rounds(task) ? 2 * FEW_ROWS : FEW_ROWS;
    int sooner = X->indices ? X->n_values > 2 * X->n_columns : rounds(task) && task->n_units[1] < 128;
    return streams_weights(task) && task->n_rows <= (sooner ? least(32, few) : few);
}

/* Whether the threads of a prediction share the columns of one chunk: then each of many weights is read by one thread alone. */
static int shares_chunk(const fm_task *task) {
    return streams_weights(task) && task->n_rows <= LONG_CHUNK_ROWS &&
           2 * task->n_threads <= n_panels(task->n_units[1]) && flat_b(task, task->n_layers) >= MANY_WEIGHTS;
}

static int is_small(const fm_task *task) {
    return flat_b(task, task->n_layers) * (int64_t)sizeof(real) <= SMALL_NETWORK;
}

/* Rows that are computed one after the other: of a batch, or all. */
static int64_t rows_at_once(const fm_task *task) { return task->job == FM_TRAIN ? task->batch_size : task->n_rows; }

/* The most rows of a chunk: more where W is packed anew for each, as long as the chunks of all threads take no more memory than W
 * packed would; or where a sum of gradients waits in memory, which is slow. */
static int64_t chunk_rows(const fm_task *task) {
    if (shares_chunk(task)) return LONG_CHUNK_ROWS;
    if (streams_weights(task)) {
        int64_t units = 0;
        for (int64_t l = 0; l <= task->n_layers; l++) units += task->n_units[l];
        int64_t rows = least(flat_W(task, task->n_layers) / (units * task->n_threads), LONG_CHUNK_ROWS);
        return rows > CHUNK_ROWS ? rows : CHUNK_ROWS;
    }
    return sizeof(real) < sizeof(double) && differentiates(task) && is_wide(task, WIDE_WEIGHTS, 1) ? 2 * CHUNK_ROWS
                                                                                                   : CHUNK_ROWS;
}

/* How the input gradient of a layer reads W, measured: as it lies in the panels, for a few rows; as it lies, with the delta of
 * the chunk turned round, where that is smaller than W; or packed anew as its transpose. */
static int has_many_weights(int64_t fan_in, int64_t fan_out) { return fan_in * fan_out >= MANY_WEIGHTS; }
static int few_rows_read_W(const network *net, int64_t l) {
    const int64_t *n = net->task->n_units + l;
    return rows_at_once(net->task) <= (has_many_weights(n[0], n[1]) ? FEW_INNER_ROWS : FEW_TRAINED_ROWS);
}
static int turns_delta(const network *net, int64_t l) {
    if (!differentiates(net->task) || l == 0 || rounds(net->task) || few_rows_read_W(net, l)) return 0;
    return net->capacity >= LEAST_TURNED && net->task->n_units[l] >= TURNED_SHARE * net->capacity;
}
static int packs_transpose(const network *net, int64_t l) {
    if (!differentiates(net->task) || l == 0) return 0;
    return rounds(net->task) || !(few_rows_read_W(net, l) || turns_delta(net, l));
}

static share carve_share(char *base, int64_t *used, int64_t fan_in, int64_t width) {
    real *W = carve(base, used, weight_panels_size(fan_in, width), sizeof(real));
    return (share){.W = W, .b = carve(base, used, width, sizeof(real))};
}

/* The optimizer's slots of one layer: first, so that a call with other rows finds them where the last one left them. */
static void carve_slots(network *net, int64_t l, char *base, int64_t *used) {
    const int64_t *n = net->task->n_units + l;
    for (int32_t s = 0; updates(net->task) && s < optimizer_slots[net->task->optimizer.kind]; s++) {
        share carved = carve_share(base, used, n[0], padded(n[1]));
        if (net->layers) net->layers[l].slots[s] = carved;
    }
}

/* What else one layer keeps through the call. */
static void carve_layer(network *net, int64_t l, char *base, int64_t *used) {
    const fm_task *task = net->task;
    int64_t fan_in = task->n_units[l], fan_out = task->n_units[l + 1], width = padded(fan_out);
    int32_t chunked = rows_at_once(task) > net->capacity;
    layer carved = {.fan_in = fan_in, .fan_out = fan_out};
    if (rounds(task) ? differentiates(task) || updates(task) : !streams_weights(task))
        carved.params.W = carve(base, used, weight_panels_size(fan_in, width), sizeof(real));
    if (!rounds(task)) carved.W = (operand *)carved.params.W;
    else if (!streams_weights(task) && task->job != FM_APPLY)
        carved.W = carve(base, used, weight_panels_size(depth_of(fan_in, 1), width), sizeof(operand));
    carved.params.b = carve(base, used, width, sizeof(real));
    if (packs_transpose(net, l))
        carved.Wt = carve(base, used, weight_panels_size(depth_of(fan_out, rounds(task)), fan_in), sizeof(operand));
    int64_t n_blocks = (fan_in + BLOCK_ROWS - 1) / BLOCK_ROWS;
    if (task->job == FM_GRADIENT || task->job == FM_APPLY || (task->job == FM_TRAIN && chunked) || clips(task))
        carved.gradient = carve_share(base, used, fan_in, width);
    if (differentiates(task) && task->alpha != 0) carved.penalty = carve(base, used, n_blocks * width, sizeof(real));
    if (clips(task)) carved.norm = carve(base, used, (n_blocks + 1) * width, sizeof(real));
    if (l < net->n_layers - 1) carved.f = &activations[task->activations[l]];
    if (!net->layers) return;
    memcpy(carved.slots, net->layers[l].slots, sizeof carved.slots);
    net->layers[l] = carved;
}

static void carve_scale(network *net, char *base, int64_t *used) {
    const fm_task *task = net->task;
    int64_t n = task->n_units[0], size = n_panels(n) * PANEL, width = padded(task->n_units[1]);
    input_scale carved = {.size = padded(n), .groups = width / LANES, .s = carve(base, used, size, sizeof(real))};
    for (int32_t s = 0; s < optimizer_slots[task->optimizer.kind]; s++)
        carved.slots[s] = carve(base, used, size, sizeof(real));
    carved.W = carve(base, used, weight_panels_size(n, width), sizeof(real));
    carved.dots = carve(base, used, carved.groups * carved.size, sizeof(real));
    net->scale = carved;
}

/* Cycles that the products of layer 0 take, each seen in timings on Zen 5 with AVX-512. Elsewhere they may choose the
 * slower way now and then; never another result. */
static const double PACK_COLUMN = 1.5;   /* dense: a register of W packed or updated, once a chunk */
static const double SCATTER_VALUE = 8;   /* dense: a value put in its place in a row of zeros */
static const double DENSE_ROW = 20;      /* dense: what a row costs besides */
static const double SPARSE_VALUE = 4;    /* sparse: a value times the width of a panel */
static const double SPARSE_ROW = 20;     /* sparse: a row times a panel, besides its values */
static const double SORT_VALUE = 9;      /* sparse: a value, converted and sorted by column */
static const double COLUMN_PANEL = 8;    /* sparse: a column of X times a panel of W, once a chunk */
static const int64_t IN_PLACE_VALUE = 4; /* a value times a row of W where it lies, in terms of the dense product */

/* Whether the dense products on a CSR X are the faster ones, because rows are short or layer 0 is narrow; both ways have
 * the same bits where parameters are finite, but for the sign of a zero. */
static int dense_is_faster(const network *net) {
    const fm_task *task = net->task;
    if (task->input_noise > 0) return 1; /* no zeros are left */
    /* W where it lies is read once for all rows by the dense product. */
    if (reads_weights_in_place(task)) return IN_PLACE_VALUE * task->X.n_values > (task->n_rows + 1) * task->X.n_columns;
    double columns = (double)task->X.n_columns, values = (double)task->X.n_values / (double)task->n_rows;
    double vecs = (double)padded(task->n_units[1]) / VL, panels = (double)n_panels(task->n_units[1]);
    double rows = (double)net->capacity;
    double dense = columns * vecs + PACK_COLUMN * columns * vecs / rows + SCATTER_VALUE * values + DENSE_ROW;
    double products = 2 * panels * (SPARSE_VALUE * values + SPARSE_ROW);
    double sparse = products + SORT_VALUE * values + COLUMN_PANEL * columns * panels / rows;
    return dense < sparse;
}

static int reads_sparse_rows(const network *net) { return net->task->X.indices && !dense_is_faster(net); }

/* The part of W_l that is packed at a time: so many terms of so many panels, side by side where the rows of W are far apart;
 * for a long chunk more terms, or its sums go to memory too often; of a CSR X all terms of one panel. */
typedef struct part {
    int64_t terms, panels;
} part;
static part part_of(const network *net, int64_t l) {
    int64_t all = depth_of(net->task->n_units[l], rounds(net->task)), panels = n_panels(net->task->n_units[l + 1]);
    int64_t together = panels <= TOGETHER ? 1 : net->capacity < CHUNK_ROWS ? TOGETHER : TOGETHER / 2;
    if (l == 0 && reads_sparse_rows(net)) return (part){all, 1};
    return (part){least(all, DEPTH / together), least(panels, together)};
}

static int64_t carve_sparse(network *net, char *base, int64_t used) {
    const fm_matrix *X = &net->task->X;
    int64_t non_zeros = net->capacity * X->max_row_values;
    net->sparse = (sparse_rows){.row_start = carve(base, &used, net->capacity + 1, sizeof(int64_t)),
                                .column = carve(base, &used, non_zeros, sizeof(int32_t)),
                                .value = carve(base, &used, non_zeros, sizeof(real)),
                                .rounds = rounds(net->task)};
    if (!differentiates(net->task)) return used;
    net->sparse.column_start = carve(base, &used, X->n_columns + 2, sizeof(int64_t));
    net->sparse.row = carve(base, &used, non_zeros, sizeof(int32_t));
    net->sparse.row_value = carve(base, &used, non_zeros, sizeof(real));
    return used;
}

/* In bfloat16, rows [row, row_end) of one panel of W_l have changed: so do their operands. `row` is even, and where there is a
 * transpose a multiple of BLOCK_ROWS. */
static void refresh_operands(const layer *here, int64_t panel, int64_t row, int64_t row_end) {
    if (here->W) round_weights(here->params.W, here->fan_in, here->fan_out, panel, row, row_end, here->W);
    if (here->Wt) round_transposed(here->params.W, here->fan_in, here->fan_out, panel, row, row_end, here->Wt);
}

/* In bfloat16 the values of a tile, the first of which is at (row, panel) of a matrix, become its operands. */
static void keep_operands(const network *net, const batch_matrix *m, const real *values, int64_t row, int64_t panel,
                          int64_t n, int64_t width) {
    if (!m->across && !m->down) return;
    int64_t panel_size = net->capacity * PANEL, column = panel * PANEL / TERMS;
    int64_t across = column / PANEL * panel_size + row * PANEL + column % PANEL;
    int64_t down = (panel * panel_size + row * PANEL) / TERMS;
    round_tile(values, n, width, m->across ? m->across + across : NULL, m->down ? m->down + down : NULL);
}

/* What each of n_threads has to itself, even where they share a chunk. */
static int64_t carve_own(network *net, int64_t n_threads, char *base, int64_t used) {
    const fm_task *task = net->task;
    net->staging_size = rounds(task) ? n_panels(task->n_units[0]) * PANEL * 2 : 0;
    if (!reads_sparse_rows(net)) net->staging = carve(base, &used, n_threads * net->staging_size, sizeof(real));
    if (!streams_weights(task) || reads_weights_in_place(task)) return used;
    int64_t longest = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        part p = part_of(net, l);
        if (p.terms * p.panels > longest) longest = p.terms * p.panels;
    }
    net->part = carve(base, &used, 2 * longest * PANEL, sizeof(operand));
    return used;
}

/* What holds the rows of a chunk: of the whole team, or, unless they share it, of each thread where nothing is differentiated. */
static int64_t carve_chunk(network *net, int64_t n_threads, char *base, int64_t used) {
    const fm_task *task = net->task;
    int64_t n_outputs = task->n_units[net->n_layers];
    if (reads_sparse_rows(net)) used = carve_sparse(net, base, used);
    else net->X = carve_batch_matrix(net, task->n_units[0], !rounds(task), 1, differentiates(task), base, &used);
    if (task->job != FM_PREDICT) net->row_loss = carve(base, &used, net->capacity + VL, sizeof(real));
    net->columns_size = (2 * padded(n_outputs) + n_panels(n_outputs) * PANEL) * VL;
    net->columns = carve(base, &used, n_threads * net->columns_size, sizeof(real));
    int64_t widest = 0;
    for (int64_t l = 0; l < net->n_layers; l++)
        if (turns_delta(net, l) && task->n_units[l + 1] > widest) widest = task->n_units[l + 1];
    real *turned = widest ? carve(base, &used, weight_panels_size(widest, net->capacity), sizeof(real)) : NULL;
    for (int64_t l = 0; l < net->n_layers; l++) {
        int64_t columns = task->n_units[l + 1];
        int32_t learns = differentiates(task), last = l == net->n_layers - 1;
        batch_matrix A = carve_batch_matrix(net, columns, !rounds(task) || learns || last || streams_weights(task),
                                            !last, learns && !last, base, &used);
        batch_matrix delta = A;
        real *slopes = NULL;
        if (learns && (rounds(task) || !last)) {
            delta = carve_batch_matrix(net, columns, !rounds(task), l > 0, 1, base, &used);
            if (last) delta.values = A.values;
        }
        if (learns && !last && activations[task->activations[l]].keeps_slope)
            slopes = carve(base, &used, batch_panels_size(net, columns), sizeof(real));
        if (net->layers && turns_delta(net, l)) net->layers[l].turned = turned;
        if (net->layers) net->layers[l].A = A, net->layers[l].slopes = slopes, net->layers[l].delta = delta;
    }
    return used;
}

/* A network for each thread, which shares the parameters; of a single chunk, which all share, the first one holds the rows. */
static int64_t carve_workers(network *net, char *base, int64_t used) {
    const fm_task *task = net->task;
    int64_t n_threads = task->n_threads;
    network *workers = net->workers = carve(base, &used, n_threads, sizeof(network)), counted = *net;
    for (int64_t i = 0; i < n_threads; i++) {
        network *worker = workers ? &workers[i] : &counted;
        *worker = *net;
        worker->layers = carve(base, &used, net->n_layers, sizeof(layer));
        if (workers) memcpy(worker->layers, net->layers, (size_t)net->n_layers * sizeof(layer));
        used = carve_own(worker, 1, base, used);
        if (i == 0 || task->n_rows > net->capacity) used = carve_chunk(worker, 1, base, used);
    }
    return used;
}

/* Lay the network out from `base` on; returns the bytes used. base == NULL: only count. */
static int64_t carve_network(network *net, fm_task *task, char *base) {
    int64_t used = 0, n_threads = task->n_threads, rows = rows_at_once(task);
    int64_t chunks = (rows + chunk_rows(task) - 1) / chunk_rows(task);
    /* Threads that predict take chunks of their own, unless they share one: of a few, each takes as many as the others. */
    if (!differentiates(task) && chunks < 8 * n_threads && !shares_chunk(task)) {
        if (n_threads > 1 && chunks < CHUNKS_EACH * n_threads && is_small(task)) chunks = CHUNKS_EACH * n_threads;
        chunks = least((chunks + n_threads - 1) / n_threads * n_threads, (rows + LEAST_CHUNK - 1) / LEAST_CHUNK);
    }
    *net = (network){.task = task, .n_layers = task->n_layers, .capacity = chunks ? (rows + chunks - 1) / chunks : 0};
    net->capacity = whole(net->capacity, rounds(task));
    if (reads_weights_in_place(task))
        net->capacity |= 1 + rounds(task); /* or the panels of a row could lie 4096 bytes apart, in one set of L1 */
    net->layers = carve(base, &used, net->n_layers, sizeof(layer));
    if (net->layers) memset(net->layers, 0, (size_t)net->n_layers * sizeof(layer));
    net->zeros = carve(base, &used, PANEL, sizeof(real));
    for (int64_t l = 0; l < net->n_layers; l++) carve_slots(net, l, base, &used);
    for (int64_t l = 0; l < net->n_layers; l++) carve_layer(net, l, base, &used);
    if (task->job == FM_TRAIN && task->input_scale) carve_scale(net, base, &used);
    if (task->job == FM_LOSS) net->losses = carve(base, &used, task->n_rows, sizeof(real));
    /* What n_threads moves comes after what the next call may go on from. */
    net->not_finite = carve(base, &used, n_threads, sizeof(integer));
    if (updates(task) || differentiates(task))
        net->blocks = carve(base, &used, n_threads * BLOCK_ROWS * PANEL, sizeof(real));
    if (task->job == FM_APPLY) return used;
    if (differentiates(task)) return carve_chunk(net, n_threads, base, carve_own(net, n_threads, base, used));
    return carve_workers(net, base, used);
}

static int64_t scratch_bytes(const fm_task *task) {
    network net;
    fm_task counted = *task;
    return carve_network(&net, &counted, NULL);
}
