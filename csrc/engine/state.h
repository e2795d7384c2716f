/* state.h: parameters, slots and gradients, between the caller's flat vectors and the panels of a call. */

/* The vectors of all parameters that a network may keep in scratch. */
enum { PARAMS, GRADIENT, SLOTS };

static share share_of(const layer *here, int which) {
    return which == PARAMS ? here->params : which == GRADIENT ? here->gradient : here->slots[which - SLOTS];
}

/* In bfloat16 the operands of panel j of W_l: of the parameters in scratch, or of the flat ones where only the operands are. */
static void load_operands(const network *net, int64_t l, const real *flat, int64_t j) {
    const layer *here = &net->layers[l];
    int64_t rows = here->fan_in, columns = here->fan_out, width = panel_width(columns, j);
    if (here->params.W) refresh_operands(here, j, 0, rows);
    else if (here->W)
        pack_operands(flat + flat_W(net->task, l) + j * PANEL, rows, columns, width, least(width, columns - j * PANEL),
                      here->W + panel_at(j, depth_of(rows, 1)), 0);
}

/* My panels of a flat vector -> scratch. */
static void load(const network *net, int which, const real *flat, const team *crew, int32_t thread) {
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        share to = share_of(here, which);
        int64_t begin, end;
        team_share(crew, thread, n_panels(here->fan_out), &begin, &end);
        if (to.W) pack(flat + flat_W(net->task, l), here->fan_in, here->fan_out, to.W, begin, end);
        for (int64_t j = begin; j < end && rounds(net->task) && which == PARAMS; j++) load_operands(net, l, flat, j);
        pack(flat + flat_b(net->task, l), 1, here->fan_out, to.b, begin, end);
    }
}

/* And back. */
static void store(const network *net, int which, real *flat, const team *crew, int32_t thread) {
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        share from = share_of(here, which);
        int64_t begin, end;
        team_share(crew, thread, n_panels(here->fan_out), &begin, &end);
        unpack(from.W, here->fan_in, here->fan_out, flat + flat_W(net->task, l), begin, end);
        unpack(from.b, 1, here->fan_out, flat + flat_b(net->task, l), begin, end);
    }
}

static integer share_is_not_finite(const network *net, int which, const team *crew, int32_t thread) {
    integer not_finite = 0;
    for (int64_t l = 0; l < net->n_layers; l++) {
        const layer *here = &net->layers[l];
        share of = share_of(here, which);
        int64_t begin, end;
        team_share(crew, thread, n_panels(here->fan_out), &begin, &end);
        not_finite |= has_not_finite(of.W, here->fan_in, here->fan_out, begin, end);
        not_finite |= has_not_finite(of.b, 1, here->fan_out, begin, end);
    }
    return not_finite;
}

/* Slot s of the task, flat. */
static real *flat_slot(const fm_task *task, int64_t s) {
    return (real *)task->slots + s * flat_b(task, task->n_layers);
}

/* My share of the factors of the inputs, of their slots and of the unscaled W_0: from the caller, or back. */
static void load_scale(const network *net, const team *crew, int32_t thread) {
    const fm_task *task = net->task;
    const input_scale *scale = &net->scale;
    int64_t begin, end, n = task->n_units[0];
    team_share(crew, thread, n_panels(task->n_units[1]), &begin, &end);
    pack(task->unscaled, n, task->n_units[1], scale->W, begin, end);
    if (thread > 0) return;
    memset(scale->dots, 0, (size_t)(scale->groups * scale->size) * sizeof(real)); /* the padding stays 0 */
    for (int s = -1; s < optimizer_slots[task->optimizer.kind]; s++)
        pack((const real *)task->input_scale + (s + 1) * n, 1, n, s < 0 ? scale->s : scale->slots[s], 0, n_panels(n));
}
static void store_scale(const network *net, const team *crew, int32_t thread) {
    const fm_task *task = net->task;
    const input_scale *scale = &net->scale;
    int64_t begin, end, n = task->n_units[0];
    team_share(crew, thread, n_panels(task->n_units[1]), &begin, &end);
    unpack(scale->W, n, task->n_units[1], task->unscaled, begin, end);
    for (int s = -1; s < optimizer_slots[task->optimizer.kind] && thread == 0; s++)
        unpack(s < 0 ? scale->s : scale->slots[s], 1, n, (real *)task->input_scale + (s + 1) * n, 0, n_panels(n));
}
static integer scale_is_not_finite(const network *net) {
    int64_t n = net->task->n_units[0];
    integer not_finite = has_not_finite(net->scale.s, 1, n, 0, n_panels(n));
    for (int s = 0; s < optimizer_slots[net->task->optimizer.kind]; s++)
        not_finite |= has_not_finite(net->scale.slots[s], 1, n, 0, n_panels(n));
    return not_finite;
}

/* What is not `resident` in scratch yet. */
static void load_state(const network *net, int32_t resident, const team *crew, int32_t thread) {
    const fm_task *task = net->task;
    if (resident == FM_ALL) return;
    load(net, PARAMS, task->params, crew, thread);
    for (int s = 0; resident != FM_SLOTS && s < optimizer_slots[task->optimizer.kind]; s++)
        load(net, SLOTS + s, flat_slot(task, s), crew, thread);
    if (net->scale.s) load_scale(net, crew, thread);
}

/* Parameters and slots back to the caller, where all of them are finite; else nothing. */
static void store_state(network *net, team *crew, int32_t thread) {
    const fm_task *task = net->task;
    int32_t n_slots = optimizer_slots[task->optimizer.kind];
    integer not_finite = 0;
    for (int s = -1; s < n_slots; s++) not_finite |= share_is_not_finite(net, s < 0 ? PARAMS : SLOTS + s, crew, thread);
    if (net->scale.s && thread == 0) not_finite |= scale_is_not_finite(net);
    net->not_finite[thread] = not_finite;
    team_barrier(crew);
    for (int32_t i = 0; i < crew->n_threads; i++) not_finite |= net->not_finite[i];
    if (not_finite || net->stop == FM_NOT_FINITE) return;
    store(net, PARAMS, task->params, crew, thread);
    for (int s = 0; s < n_slots; s++) store(net, SLOTS + s, flat_slot(task, s), crew, thread);
    if (net->scale.s) store_scale(net, crew, thread);
}
