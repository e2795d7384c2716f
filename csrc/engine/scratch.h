/* scratch.h: the network of one call: size of, and pointers into, the one scratch block.
 *
 * A batch longer than CHUNK_ROWS is computed in chunks of rows; its gradients then add up in memory, in the same order.
 */
enum {
    CHUNK_ROWS = 256,
    BLOCK_ROWS = 64, /* fan-in rows of W in one block of the update */
    FEW_ROWS = 16,   /* a prediction of no more reads W where it lies: measured against packing it */
};

/* Layer l: all of it in scratch. */
typedef struct layer {
    int64_t fan_in, fan_out;
    real *W;                 /* weight panels (fan_in, fan_out); NULL: packed a panel at a time, or not at all */
    real *b;                 /* (padded fan_out) */
    real *slot_W[MAX_SLOTS]; /* like W ... */
    real *slot_b[MAX_SLOTS]; /* ... and like b */
    real *Wt;                /* weight panels (fan_out, fan_in): the transpose; NULL for layer 0 and for predict */
    real *dW, *db;           /* like W and b: sums over a batch of several chunks; NULL where there are none */
    real *A;                 /* batch panels (capacity, fan_out): output; of the last layer: logits, then delta */
    real *delta;             /* batch panels (capacity, fan_out): dL/dZ; of the last layer, and for predict: A */
    real *squares; /* (blocks of fan_in, padded fan_out): sums of w^2; NULL where alpha is 0 or nothing is trained */
} layer;

typedef struct network {
    fm_task *task;
    layer *layers;
    int64_t n_layers;
    int64_t capacity; /* rows of a chunk at the most */
    real *X;          /* batch panels (capacity, n_units[0]); NULL: layer 0 uses `sparse` */
    real *row_loss;   /* (capacity rounded up to VL,) */
    real *columns;    /* (n_threads, columns_size): VL rows of logits and of targets as columns, and of target rows */
    int64_t columns_size;
    real *panel;        /* where weights are packed a panel at a time: (widest fan_in, PANEL), or NULL */
    real *zeros;        /* (PANEL,) */
    real *blocks;       /* (n_threads, BLOCK_ROWS * PANEL): a block of dW on its way to the optimizer; train only */
    sparse_rows sparse; /* the chunk's rows of a CSR X, where X is NULL */
    integer *finite;    /* (n_threads,) OUT: 0 where the thread's share of the parameters (predict: of X) is finite */
    struct network *workers; /* predict: (n_threads,) networks that share W and b, each with a chunk of its own */
    int32_t stop;            /* set by thread 0 before a barrier: status to return, or 0 to go on */
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

/* A prediction of one chunk uses each weight once: it packs a panel at a time, when its turn comes. */
static int streams_weights(const fm_task *task) { return task->job == FM_PREDICT && task->n_rows <= CHUNK_ROWS; }

/* And a prediction of a few rows would spend more time on packing than on the product. */
static int leaves_weights(const fm_task *task) { return task->job == FM_PREDICT && task->n_rows <= FEW_ROWS; }

/* What one layer keeps through the call. */
static void carve_layer(network *net, int64_t l, char *base, int64_t *used) {
    const fm_task *task = net->task;
    int64_t fan_in = task->n_units[l], fan_out = task->n_units[l + 1], width = padded(fan_out);
    int32_t learns = task->job == FM_TRAIN;
    int32_t chunked = task->batch_size > net->capacity;
    int32_t n_slots = learns ? optimizer_slots[task->optimizer.kind] : 0;
    layer carved = {.fan_in = fan_in, .fan_out = fan_out};
    if (!streams_weights(task)) carved.W = carve(base, used, fan_in * width, sizeof(real));
    carved.b = carve(base, used, width, sizeof(real));
    for (int32_t s = 0; s < n_slots; s++) {
        carved.slot_W[s] = carve(base, used, fan_in * width, sizeof(real));
        carved.slot_b[s] = carve(base, used, width, sizeof(real));
    }
    if (learns && l > 0) carved.Wt = carve(base, used, fan_out * padded(fan_in), sizeof(real));
    if (learns && chunked) {
        carved.dW = carve(base, used, fan_in * width, sizeof(real));
        carved.db = carve(base, used, width, sizeof(real));
    }
    if (learns && task->alpha != 0)
        carved.squares = carve(base, used, (fan_in + BLOCK_ROWS - 1) / BLOCK_ROWS * width, sizeof(real));
    if (net->layers) net->layers[l] = carved;
}

/* Whether the dense products on a CSR X are the faster ones, because rows are short or layer 0 is narrow: cycles of one
 * row, from measurements; both ways have the same bits where parameters are finite, but for the sign of a zero. */
static int dense_is_faster(const network *net) {
    const fm_task *task = net->task;
    /* W where it lies: a non-zero costs four times what a term of the dense product does, which reads all of W once. */
    if (leaves_weights(task)) return 4 * task->X.n_values > (task->n_rows + 1) * task->X.n_columns;
    double columns = (double)task->X.n_columns, values = (double)task->X.n_values / (double)task->n_rows;
    double vecs = (double)padded(task->n_units[1]) / VL, panels = (double)n_panels(task->n_units[1]);
    double rows = (double)net->capacity;
    double dense = columns * vecs + 1.5 * columns * vecs / rows + 8 * values + 20;
    double sparse = 2 * panels * (4 * values + 20) + 9 * values + 8 * columns * panels / rows;
    return dense < sparse;
}

static int64_t carve_sparse(network *net, char *base, int64_t used) {
    const fm_matrix *X = &net->task->X;
    int64_t non_zeros = net->capacity * X->max_row_values;
    net->sparse = (sparse_rows){.row_start = carve(base, &used, net->capacity + 1, sizeof(int64_t)),
                                .column = carve(base, &used, non_zeros, sizeof(int32_t)),
                                .value = carve(base, &used, non_zeros, sizeof(real))};
    if (net->task->job == FM_PREDICT) return used;
    net->sparse.column_start = carve(base, &used, X->n_columns + 2, sizeof(int64_t));
    net->sparse.row = carve(base, &used, non_zeros, sizeof(int32_t));
    net->sparse.row_value = carve(base, &used, non_zeros, sizeof(real));
    return used;
}

/* What holds the rows of a chunk: of the whole team, or of each of its threads for predict. */
static int64_t carve_chunk(network *net, int64_t n_threads, char *base, int64_t used) {
    const fm_task *task = net->task;
    int64_t n_outputs = task->n_units[net->n_layers];
    if (!task->X.indices || dense_is_faster(net))
        net->X = carve(base, &used, batch_panels_size(net, task->n_units[0]), sizeof(real));
    else used = carve_sparse(net, base, used);
    if (streams_weights(task) && !leaves_weights(task)) {
        int64_t widest = 0;
        for (int64_t l = 0; l < net->n_layers; l++) widest = widest > task->n_units[l] ? widest : task->n_units[l];
        net->panel = carve(base, &used, widest * PANEL, sizeof(real));
    }
    net->columns_size = (2 * padded(n_outputs) + n_panels(n_outputs) * PANEL) * VL;
    net->columns = carve(base, &used, n_threads * net->columns_size, sizeof(real));
    for (int64_t l = 0; l < net->n_layers; l++) {
        int64_t size = batch_panels_size(net, task->n_units[l + 1]);
        real *A = carve(base, &used, size, sizeof(real)), *delta = A;
        if (task->job == FM_TRAIN && l < net->n_layers - 1) delta = carve(base, &used, size, sizeof(real));
        if (net->layers) net->layers[l].A = A, net->layers[l].delta = delta;
    }
    return used;
}

/* Lay the network out from `base` on; returns the bytes used. base == NULL: only count. */
static int64_t carve_network(network *net, fm_task *task, char *base) {
    int64_t used = 0, n_threads = task->n_threads;
    int64_t batch = task->job == FM_TRAIN ? task->batch_size : task->n_rows;
    int64_t chunks = (batch + CHUNK_ROWS - 1) / CHUNK_ROWS;
    *net = (network){.task = task, .n_layers = task->n_layers, .capacity = (batch + chunks - 1) / chunks};
    if (leaves_weights(task))
        net->capacity |= 1; /* or the panels of a row could lie 4096 bytes apart, in one set of L1 */
    net->layers = carve(base, &used, net->n_layers, sizeof(layer));
    net->zeros = carve(base, &used, PANEL, sizeof(real));
    for (int64_t l = 0; l < net->n_layers; l++) carve_layer(net, l, base, &used);
    /* What n_threads moves comes after what the next call may go on from. */
    net->finite = carve(base, &used, n_threads, sizeof(integer));
    if (task->job == FM_TRAIN) {
        net->row_loss = carve(base, &used, net->capacity + VL, sizeof(real));
        net->blocks = carve(base, &used, n_threads * BLOCK_ROWS * PANEL, sizeof(real));
    }
    if (task->job == FM_TRAIN) return carve_chunk(net, n_threads, base, used);
    network *workers = net->workers = carve(base, &used, n_threads, sizeof(network)), counted = *net;
    for (int64_t i = 0; i < n_threads; i++) {
        network *worker = workers ? &workers[i] : &counted;
        *worker = *net;
        worker->layers = carve(base, &used, net->n_layers, sizeof(layer));
        if (workers) memcpy(worker->layers, net->layers, (size_t)net->n_layers * sizeof(layer));
        used = carve_chunk(worker, 1, base, used);
    }
    return used;
}

/* loss_gradient is one step over all the rows of an optimizer that writes the gradient down and leaves W as it is. */
static fm_task as_training(const fm_task *task) {
    fm_task training = *task;
    if (task->job == FM_LOSS_GRADIENT) {
        training.job = FM_TRAIN;
        training.optimizer = (fm_optimizer){.kind = OPTIMIZER_gradient};
        training.slots = task->gradient;
        training.batch_size = task->n_rows;
        training.order = NULL;
        training.position = 0;
        training.loss_sum = 0;
    }
    return training;
}

static int64_t scratch_bytes(const fm_task *task) {
    network net;
    fm_task training = as_training(task);
    return carve_network(&net, &training, NULL);
}
