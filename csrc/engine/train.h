/* train.h: batches of an epoch and when to return; chunks of a prediction. Each body runs on every thread of the team. */

/* My panels of the flat vectors -> scratch. */
static void load_parameters(const network *net, const team *t, int32_t thread) {
    const fm_task *task = net->task;
    int64_t n_params = flat_b(task, task->n_layers), begin, end;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *y = &net->layers[l];
        team_share(t, thread, n_panels(y->fan_out), &begin, &end);
        for (int32_t s = -1; s < MAX_SLOTS; s++) {
            real *W = s < 0 ? y->W : y->slot_W[s], *b = s < 0 ? y->b : y->slot_b[s];
            if (!b) break;
            const real *flat = s < 0 ? (const real *)task->params : (const real *)task->slots + s * n_params;
            if (W) pack(flat + flat_W(task, l), y->fan_in, y->fan_out, W, begin, end);
            pack(flat + flat_b(task, l), 1, y->fan_out, b, begin, end);
        }
    }
}

/* My panels in scratch -> the flat vectors; returns 0 when all is finite. */
static integer store_parameters(const network *net, const team *t, int32_t thread) {
    const fm_task *task = net->task;
    int64_t n_params = flat_b(task, task->n_layers), begin, end;
    integer not_finite = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *y = &net->layers[l];
        team_share(t, thread, n_panels(y->fan_out), &begin, &end);
        for (int32_t s = -1; s < MAX_SLOTS; s++) {
            real *W = s < 0 ? y->W : y->slot_W[s], *b = s < 0 ? y->b : y->slot_b[s];
            if (!W) break;
            real *flat = s < 0 ? (real *)task->params : (real *)task->slots + s * n_params;
            not_finite |= unpack(W, y->fan_in, y->fan_out, flat + flat_W(task, l), begin, end);
            not_finite |= unpack(b, 1, y->fan_out, flat + flat_b(task, l), begin, end);
        }
    }
    return not_finite;
}

/* My rows of the chunk; returns 0 when all their values are finite. */
static integer gather_chunk(const network *net, int64_t first, int64_t rows, const team *t, int32_t thread) {
    int64_t begin, end;
    team_share(t, thread, rows, &begin, &end);
    if (!net->X) return thread == 0 ? gather_sparse(net, first, rows) : 0;
    if (net->task->X.indices) return gather_dense(net, first, begin, end);
    return gather(net, first, begin, end);
}

/* Refresh my panels of the transposes, which the input gradients of this batch read. */
static void transpose_weights(const network *net, const team *t, int32_t thread) {
    for (int64_t l = 1; l < net->n_layers; l++) {
        const layer *y = &net->layers[l];
        int64_t begin, end;
        team_share(t, thread, n_panels(y->fan_in), &begin, &end);
        transpose(y->W, y->fan_in, y->fan_out, y->Wt, begin, end);
    }
}

/* Forward, delta and backward over a chunk whose rows are gathered. `first` is the chunk's place in order. */
static void learn_chunk(network *net, int64_t first, int64_t rows, learning how, team *t, int32_t thread) {
    for (int64_t l = 0; l < net->n_layers; l++) {
        forward(net, l, rows, t, thread);
        layer_lap(net, thread, l, PHASE_FORWARD);
        team_barrier(t);
        lap(net, thread, PHASE_BARRIER);
    }
    if (!how.carry) transpose_weights(net, t, thread);
    lap(net, thread, PHASE_TRANSPOSE);
    output_delta(net, first, rows, t, thread);
    lap(net, thread, PHASE_LOSS);
    team_barrier(t);
    lap(net, thread, PHASE_BARRIER);
    if (thread == 0)
        for (int64_t i = 0; i < rows; i++)
            net->batch_loss += (double)row_weight(net->task, first + i) * (double)net->row_loss[i];
    for (int64_t l = net->n_layers - 1; l >= 0; l--) {
        if (l > 0) input_gradient(net, l, rows, t, thread);
        layer_lap(net, thread, l, PHASE_INPUT_GRADIENT);
        weight_gradient(net, l, rows, how, t, thread);
        layer_lap(net, thread, l, PHASE_WEIGHT_GRADIENT);
        team_barrier(t);
        lap(net, thread, PHASE_BARRIER);
    }
}

/* Thread 0; the others see it at the next barrier. */
static void stop_when_time_is_up(network *net) {
    if (clock_seconds() - net->start_seconds >= net->task->seconds) net->stop = FM_YIELD;
}

/* Thread 0, after a batch: its loss, which is 0 where it has no weight, and whether to go on. */
static void finish_batch(network *net, int64_t rows, double weight) {
    fm_task *task = net->task;
    double loss = net->batch_loss;
    if (losses[task->loss].mean_over_outputs && task->optimizer.kind != OPTIMIZER_gradient)
        loss /= (double)task->n_units[net->n_layers]; /* as reported; loss_gradient wants that whose gradient it is */
    if (weight > 0) {
        if (task->alpha != 0) loss += 0.5 * task->alpha * sum_of_squares(net);
        task->loss_sum += loss / weight * (double)rows;
    }
    net->batch_loss = 0;
    if (!isfinite(loss)) net->stop = FM_NOT_FINITE;
    else stop_when_time_is_up(net);
}

/* A batch whose weights sum to zero: no update, and a gradient of zero. */
static void learn_nothing(network *net, team *t, int32_t thread) {
    int is_gradient = net->task->optimizer.kind == OPTIMIZER_gradient;
    for (int64_t l = 0; is_gradient && l < net->n_layers; l++) {
        const layer *y = &net->layers[l];
        int64_t begin, end;
        team_share(t, thread, y->fan_in * padded(y->fan_out), &begin, &end);
        memset(y->slot_W[0] + begin, 0, (size_t)(end - begin) * sizeof(real));
        if (thread == 0) memset(y->slot_b[0], 0, (size_t)padded(y->fan_out) * sizeof(real));
    }
    team_barrier(t); /* all have looked at `stop`, which thread 0 may now set */
}

static void train_body(void *context, team *t, int32_t thread) {
    network *net = context;
    fm_task *task = net->task;
    fm_optimizer optimizer = task->optimizer; /* each thread counts the steps for itself */
    int64_t position = task->position, done = task->batch_position;
    load_parameters(net, t, thread);
    lap(net, thread, PHASE_PARAMETERS);
    while (position < task->n_rows) {
        int64_t batch = least(task->batch_size, task->n_rows - position), end = position + batch;
        int64_t chunk = (batch + net->capacity - 1) / net->capacity; /* chunks, then rows of each */
        chunk = (batch + chunk - 1) / chunk;
        double weight = weight_sum(task, position, batch);
        step next = next_step(&optimizer, task->alpha, weight);
        for (int64_t first = position + done; first < end; first += chunk) {
            int64_t rows = least(chunk, end - first);
            gather_chunk(net, first, rows, t, thread);
            lap(net, thread, PHASE_GATHER);
            team_barrier(t);
            lap(net, thread, PHASE_BARRIER);
            if (net->stop) goto stopped; /* decided after the chunk before, which was complete */
            learning how = {.step = first + rows == end ? &next : NULL, .carry = first > position};
            if (weight > 0) learn_chunk(net, first, rows, how, t, thread);
            else learn_nothing(net, t, thread);
            if (thread == 0 && !how.step) {
                task->batch_position = first + rows - position;
                stop_when_time_is_up(net);
            }
        }
        position = end, done = 0;
        if (weight > 0) optimizer.step++;
        if (thread == 0) {
            task->position = position, task->batch_position = 0;
            task->optimizer.step = optimizer.step;
            finish_batch(net, batch, weight);
        }
        lap(net, thread, PHASE_BATCH);
    }
stopped:
    net->finite[thread] = store_parameters(net, t, thread);
    lap(net, thread, PHASE_PARAMETERS);
}

/* Each thread predicts chunks of its own. */
static void predict_body(void *context, team *t, int32_t thread) {
    network *shared = context, *net = &shared->workers[thread];
    team alone = {.n_threads = 1};
    load_parameters(shared, t, thread);
    team_barrier(t);
    int64_t step = net->capacity * t->n_threads;
    for (int64_t first = net->capacity * thread; first < net->task->n_rows; first += step) {
        int64_t rows = least(net->capacity, net->task->n_rows - first);
        shared->finite[thread] |= gather_chunk(net, first, rows, &alone, 0);
        for (int64_t l = 0; l < net->n_layers; l++)
            if (leaves_weights(net->task)) forward_in_place(net, l, rows);
            else forward(net, l, rows, &alone, 0);
        output_values(net, first, rows, &alone, 0);
    }
}

static int32_t run(fm_task *task) {
    network net;
    fm_task training = as_training(task);
    fm_task *used = task->job == FM_LOSS_GRADIENT ? &training : task;
    carve_network(&net, used, task->scratch);
    memset(net.zeros, 0, PANEL * sizeof(real));
    memset(net.finite, 0, (size_t)task->n_threads * sizeof(integer)); /* fewer threads may be granted */
    net.start_seconds = net.lap_seconds = clock_seconds();
    net.batch_loss = used->batch_loss;
    team_run(task->n_threads, task->job == FM_PREDICT ? predict_body : train_body, &net);
    for (int32_t i = 0; i < task->n_threads; i++)
        if (net.finite[i] != 0) net.stop = FM_NOT_FINITE;
    if (task->job == FM_PREDICT) return net.stop == FM_NOT_FINITE ? FM_NOT_FINITE : FM_DONE;
    used->batch_loss = net.batch_loss;
    if (task->job == FM_LOSS_GRADIENT) {
        task->batch_position = training.batch_position, task->batch_loss = training.batch_loss;
        task->loss_sum = training.loss_sum / (double)task->n_rows;
        return training.position == task->n_rows ? FM_DONE : FM_YIELD;
    }
    if (net.stop == FM_NOT_FINITE) return FM_NOT_FINITE;
    return task->position == task->n_rows ? FM_EPOCH : FM_YIELD;
}
