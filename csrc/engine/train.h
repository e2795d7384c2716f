/* train.h: batches of an epoch and when to return; one update from a given gradient; chunks of a forward pass. Each body
 * runs on every thread of the team.
 */

/* Refresh my panels of the transposes, which the input gradients of this batch read. */
static void transpose_weights(const network *net, const team *crew, int32_t thread) {
    for (int64_t l = 1; l < net->n_layers && !rounds(net->task); l++) {
        const layer *here = &net->layers[l];
        if (!here->Wt) continue;
        int64_t begin, end;
        team_share(crew, thread, n_panels(here->fan_in), &begin, &end);
        transpose(here->params.W, here->fan_in, here->fan_out, (real *)here->Wt, begin, end);
    }
}

/* The losses of the chunk's rows, added to the batch's in their order. */
static void add_losses(network *net, const chunk *c) {
    double sum = net->batch_loss; /* not in memory, where each addition would wait for the last to be stored */
    for (int64_t i = 0; i < c->rows; i++)
        sum += (double)row_weight(net->task, c->first + i, c->weight_scale) * (double)net->row_loss[i];
    net->batch_loss = sum;
}

/* Forward, delta and backward over a chunk whose rows are gathered. */
static void learn_chunk(network *net, const chunk *c, learning how, team *crew, int32_t thread) {
    for (int64_t l = 0; l < net->n_layers; l++) {
        forward(net, l, c, crew, thread);
        layer_lap(net, thread, l, PHASE_FORWARD);
        team_barrier(crew);
        lap(net, thread, PHASE_BARRIER);
    }
    if (!how.carry) transpose_weights(net, crew, thread);
    lap(net, thread, PHASE_TRANSPOSE);
    output_delta(net, c, crew, thread);
    lap(net, thread, PHASE_LOSS);
    team_barrier(crew);
    lap(net, thread, PHASE_BARRIER);
    if (thread == 0) add_losses(net, c);
    for (int64_t l = net->n_layers - 1; l >= 0; l--) {
        if (learns_at_once(net, l, crew)) gradients_at_once(net, l, c, how, crew, thread);
        else {
            if (l > 0 && net->layers[l].turned) {
                turn_delta(net, l, c->rows, crew, thread);
                team_barrier(crew);
            }
            if (l > 0) input_gradient(net, l, c, crew, thread);
            layer_lap(net, thread, l, PHASE_INPUT_GRADIENT);
            if (l > 0 && (rounds(net->task) || !net->layers[l].Wt))
                team_barrier(crew); /* what was read is updated next */
            weight_gradient(net, l, c->rows, how, crew, thread);
            layer_lap(net, thread, l, PHASE_WEIGHT_GRADIENT);
        }
        team_barrier(crew);
        lap(net, thread, PHASE_BARRIER);
    }
}

static int time_is_up(const network *net) { return clock_seconds() - net->start_seconds >= net->task->seconds; }

/* What is added to loss_sum for a batch, whose losses and weights have these sums. */
static double share_of_loss(double loss, double weight, int64_t rows) { return loss / weight * (double)rows; }

/* Thread 0, after a batch: its loss, which is 0 where it has no weight, and whether to go on. */
static void finish_batch(network *net, const chunk *batch, double weight, const constants *numbers) {
    fm_task *task = net->task;
    double loss = net->batch_loss;
    if (loss_list[task->loss].mean_over_outputs && task->job == FM_TRAIN)
        loss /= (double)task->n_units[net->n_layers]; /* as reported; a gradient is of the sum */
    if (weight > 0) {
        if (task->alpha != 0) loss += penalty_of(net, numbers, task->alpha * batch->weight_scale);
        task->loss_sum += share_of_loss(loss, weight, batch->rows);
    }
    net->batch_loss = 0;
    if (task->job == FM_TRAIN && !isfinite(loss)) net->stop = FM_NOT_FINITE;
    else if (time_is_up(net)) net->stop = FM_YIELD;
}

/* A batch whose weights sum to zero: no update, and a gradient of zero. */
static void learn_nothing(network *net, team *crew, int32_t thread) {
    for (int64_t l = 0; net->task->job == FM_GRADIENT && l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        int64_t begin, end;
        team_share(crew, thread, weight_panels_size(here->fan_in, here->fan_out), &begin, &end);
        memset(here->gradient.W + begin, 0, (size_t)(end - begin) * sizeof(real));
        if (thread == 0) memset(here->gradient.b, 0, (size_t)padded(here->fan_out) * sizeof(real));
    }
    team_barrier(crew); /* all have looked at `stop`, which thread 0 may now set */
}

/* The update that waits for the gradient of all parameters, which it shortens where it is too long. */
static void clipped_update(network *net, const constants *numbers, double weight, team *crew, int32_t thread) {
    double norm = norm_of(net) / weight, most = net->task->clip_norm;
    constants shortened = with_factor(*numbers, norm > most ? most / norm : 1);
    shortened.alpha = shortened.l1 = 0; /* the gradient of the penalty is in the gradient */
    if (!isfinite(norm)) shortened.inverse_weight = shortened.descent = (real)NAN; /* which ends the training */
    if (thread == 0) net->task->gradient_norm = norm;
    use_gradient(net, optimizers[net->task->optimizer.kind].block, &shortened, crew, thread);
    team_barrier(crew);
}

/* The factors of the inputs learn what the batch says of them, and the scaled W_0 follows. */
static void learn_scale(network *net, const constants *numbers, team *crew, int32_t thread) {
    const fm_task *task = net->task;
    constants of_scale = without_penalty(*numbers);
    if (task->rate_factors) of_scale = with_rate_factor(of_scale, task->rate_factors[2 * task->n_layers]);
    if (thread == 0) update_scale(&net->scale, &of_scale, optimizers[task->optimizer.kind].block);
    team_barrier(crew);
    scale_weights(&net->scale, &net->layers[0], rounds(task), crew, thread);
}

/* One batch, from the rows on that are done, in chunks of even length; returns 0 where a call ends before it does. */
static int learn_batch(network *net, const chunk *batch, int64_t done, const constants *numbers, double weight,
                       team *crew, int32_t thread) {
    const optimizer *updating = updates(net->task) && !clips(net->task) ? &optimizers[net->task->optimizer.kind] : NULL;
    constants sums = *numbers; /* of a batch, where they are to be clipped */
    if (clips(net->task)) sums.inverse_weight = 1;
    int64_t n_chunks = (batch->rows + net->capacity - 1) / net->capacity;
    chunk c = *batch;
    for (c.place = done; c.place < batch->rows; c.place += c.rows) {
        c.first = batch->first + c.place;
        c.rows = least(whole((batch->rows + n_chunks - 1) / n_chunks, rounds(net->task)), batch->rows - c.place);
        int32_t last = c.place + c.rows == batch->rows;
        gather_chunk(net, &c, advance(net->staging, thread * net->staging_size), crew, thread);
        lap(net, thread, PHASE_GATHER);
        team_barrier(crew);
        lap(net, thread, PHASE_BARRIER);
        if (net->stop) return 0; /* decided after the chunk before, which was complete */
        learning how = {.numbers = last ? &sums : NULL,
                        .finish = updating ? updating->block : gradient_block,
                        .stays = !last || !updating,
                        .carry = c.place > 0};
        if (updating && updating->fused && n_chunks == 1 && !net->scale.s && !numbers->general) how.finish = NULL;
        if (weight > 0) learn_chunk(net, &c, how, crew, thread);
        else learn_nothing(net, crew, thread);
        if (weight > 0 && last && clips(net->task)) clipped_update(net, numbers, weight, crew, thread);
        if (weight > 0 && last && net->scale.s) learn_scale(net, numbers, crew, thread);
        if (thread == 0 && !last) {
            net->task->batch_position = c.place + c.rows;
            if (time_is_up(net)) net->stop = FM_YIELD;
        }
    }
    return 1;
}

/* train: the batches from position on. */
static void train_body(void *context, team *crew, int32_t thread) {
    network *net = context;
    fm_task *task = net->task;
    fm_optimizer optimizer = task->optimizer; /* each thread counts the steps for itself */
    chunk batch = {.first = task->position};
    int64_t begin = batch.first, done = task->batch_position;
    load_state(net, task->resident, crew, thread);
    lap(net, thread, PHASE_PARAMETERS);
    for (; batch.first < task->n_rows; batch.first += batch.rows, done = 0) {
        batch.rows = least(task->batch_size, task->n_rows - batch.first);
        double weight = weight_sum(task, batch.first, batch.rows), scale = weight_scale(weight);
        double rate = task->rates ? task->rates[batch.first / task->batch_size] : optimizer.learning_rate;
        batch.weight_scale = scale, batch.step = optimizer.step, weight *= scale;
        constants numbers = with_penalty(next_step(&optimizer, rate, weight), task, rate, scale);
        if (!learn_batch(net, &batch, done, &numbers, weight, crew, thread)) break;
        if (weight > 0) optimizer.step++;
        if (thread == 0) {
            task->position = batch.first + batch.rows, task->batch_position = 0;
            task->optimizer.step = optimizer.step;
            finish_batch(net, &batch, weight, &numbers);
        }
        lap(net, thread, PHASE_BATCH);
    }
    if (batch.first > begin) store_state(net, crew, thread);
    lap(net, thread, PHASE_PARAMETERS);
}

/* gradient: one batch of all rows, whose sums stay in scratch. */
static void gradient_body(void *context, team *crew, int32_t thread) {
    network *net = context;
    fm_task *task = net->task;
    double weight = weight_sum(task, 0, task->n_rows), scale = weight_scale(weight);
    chunk batch = {.rows = task->n_rows, .weight_scale = scale};
    weight *= scale;
    constants numbers = with_penalty((constants){.inverse_weight = (real)(1 / weight)}, task, 0, scale);
    int64_t done = task->batch_position;
    if (done == 0) load(net, PARAMS, task->params, crew, thread);
    if (!learn_batch(net, &batch, done, &numbers, weight, crew, thread)) return;
    if (thread == 0) {
        task->batch_position = 0, task->loss_sum = 0;
        finish_batch(net, &batch, weight, &numbers);
        task->loss_sum /= (double)task->n_rows;
    }
    store(net, GRADIENT, task->gradient, crew, thread);
}

/* apply: the update from a gradient that holds the penalty already. */
static void apply_body(void *context, team *crew, int32_t thread) {
    network *net = context;
    fm_task *task = net->task;
    double rate = task->optimizer.learning_rate;
    constants numbers = with_penalty(next_step(&task->optimizer, rate, 1), task, rate, 0);
    load_state(net, 0, crew, thread);
    load(net, GRADIENT, task->gradient, crew, thread);
    team_barrier(crew);
    if (clips(task)) {
        const constants as_it_is = {.inverse_weight = 1};
        use_gradient(net, gradient_block, &as_it_is, crew, thread);
        team_barrier(crew);
        clipped_update(net, &numbers, 1, crew, thread);
    } else {
        use_gradient(net, optimizers[task->optimizer.kind].block, &numbers, crew, thread);
        team_barrier(crew);
    }
    store_state(net, crew, thread);
}

/* loss, predict: the parameters that one thread loads before the others begin, of a small network or biases alone. */
static int loads_alone(const fm_task *task) { return streams_weights(task) || is_small(task); }
static void load_body(void *context, team *crew, int32_t thread) {
    const network *net = context;
    load(net, PARAMS, net->task->params, crew, thread);
}

/* loss, predict: each thread takes chunks of its own, until there are no more or the time is up; of one chunk, of which reading
 * W is a large part, all take their share of the columns. */
static void forward_body(void *context, team *crew, int32_t thread) {
    network *shared = context;
    const fm_task *task = shared->task;
    team alone = {.n_threads = 1}, *of_chunk = &alone;
    double scale = task->job == FM_LOSS ? weight_scale(weight_sum(task, 0, task->n_rows)) : 1;
    if (task->position == 0 && !loads_alone(task)) {
        load(shared, PARAMS, task->params, crew, thread);
        team_barrier(crew);
    }
    int32_t in_place = reads_weights_in_place(task), me = 0;
    if (streams_weights(task) && task->n_rows <= shared->capacity) of_chunk = crew, me = thread;
    network *net = &shared->workers[thread - me];
    do {
        int64_t number = of_chunk == crew ? 0 : take_number(&shared->next_chunk);
        chunk c = {.first = task->position + net->capacity * number, .weight_scale = scale};
        if (c.first >= task->n_rows) return;
        c.rows = least(net->capacity, task->n_rows - c.first);
        const network *mine = &shared->workers[thread];
        shared->not_finite[thread] |= gather_chunk(net, &c, mine->staging, of_chunk, me);
        team_barrier(of_chunk);
        for (int64_t l = 0; l < net->n_layers; l++) {
            if (in_place) forward_in_place(net, l, &c, of_chunk, me);
            else if (streams_weights(task)) forward_packing(net, l, &c, mine->part, of_chunk, me);
            else forward(net, l, &c, of_chunk, me);
            team_barrier(of_chunk);
        }
        if (me > 0) return;
        if (task->job == FM_PREDICT) output_values(net, &c);
        else {
            output_delta(net, &c, &alone, 0);
            memcpy(net->losses + c.first, net->row_loss, (size_t)c.rows * sizeof(real));
        }
    } while (of_chunk == &alone && !time_is_up(shared));
    if (of_chunk == crew) shared->next_chunk = 1;
}

/* After the chunks that the threads have taken, which are all done: how far that is, and the losses in the order of rows. */
static void finish_forward(network *net) {
    fm_task *task = net->task;
    int64_t end = least(task->n_rows, task->position + net->capacity * net->next_chunk);
    float_mode before = denormals_are(1);
    if (task->job == FM_LOSS) {
        double weight = weight_sum(task, 0, task->n_rows), scale = weight_scale(weight);
        for (int64_t i = task->position; i < end; i++)
            task->batch_loss += (double)row_weight(task, i, scale) * (double)net->losses[i];
        double sum = weight > 0 ? share_of_loss(task->batch_loss, weight * scale, task->n_rows) : 0;
        task->loss_sum = sum / (double)task->n_rows;
    }
    denormals_back(before);
    task->position = end;
}

static team_body *const bodies[] = {[FM_TRAIN] = train_body,
                                    [FM_LOSS] = forward_body,
                                    [FM_GRADIENT] = gradient_body,
                                    [FM_APPLY] = apply_body,
                                    [FM_PREDICT] = forward_body};

static int32_t run(fm_task *task) {
    network net;
    const fm_task before = *task;
    carve_network(&net, task, task->scratch);
    memset(net.zeros, 0, PANEL * sizeof(real));
    memset(net.not_finite, 0, (size_t)task->n_threads * sizeof(integer)); /* fewer threads may be granted */
    net.start_seconds = net.lap_seconds = clock_seconds();
    net.batch_loss = task->batch_loss;
    int forwards = !differentiates(task) && !updates(task);
    if (forwards && task->position == 0 && loads_alone(task)) team_run(1, load_body, &net, !rounds(task));
    team_run(task->n_threads, bodies[task->job], &net, !rounds(task));
    integer not_finite = 0;
    for (int32_t i = 0; i < task->n_threads; i++) not_finite |= net.not_finite[i];
    if (updates(task) && (not_finite || net.stop == FM_NOT_FINITE)) {
        *task = before;
        task->batch_position = 0, task->batch_loss = 0; /* its sums are gone */
        return FM_NOT_FINITE;
    }
    switch (task->job) {
    case FM_TRAIN: task->batch_loss = net.batch_loss; return task->position == task->n_rows ? FM_EPOCH : FM_YIELD;
    case FM_GRADIENT: task->batch_loss = net.batch_loss; return task->batch_position > 0 ? FM_YIELD : FM_DONE;
    case FM_APPLY: task->optimizer.step++; return FM_DONE;
    default: finish_forward(&net);
    }
    if (task->job == FM_PREDICT && not_finite) return FM_NOT_FINITE;
    return task->position == task->n_rows ? FM_DONE : FM_YIELD;
}
