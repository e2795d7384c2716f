/* input_scale.h: a factor for each input, learned beside W_0: x_i is multiplied by s_i before the first layer.
 *
 * The forward pass knows nothing of it: its W_0 is s times the unscaled W_0, row by row, and dW_0 the gradient of that. The
 * unscaled gradient is s_i dW_0[i], and that of s_i the inner product of row i of the unscaled W_0 with dW_0[i].
 */

/* IN block.gradient: rows from `row` on of dW_0, OUT of the unscaled gradient, for the update of the unscaled W_0. */
static void unscale_block(const input_scale *scale, parameters_block *block, int64_t panel, int64_t row, int64_t at) {
    real *dots = scale->dots + panel * (PANEL / LANES) * scale->size + row;
    block->w = scale->W + at;
    for (int64_t i = 0; i < block->rows; i++) {
        vec lanes[LANE_VECS], s = vec_broadcast(scale->s[row + i]);
        for (int64_t c = 0; c < block->width; c += LANES) {
            for (int v = 0; v < LANE_VECS; v++) {
                int64_t here = i * block->width + c + v * VL;
                vec g = vec_load(block->gradient + here);
                lanes[v] = vec_load(block->w + here) * g;
                vec_store(block->gradient + here, g * s);
            }
            dots[c / LANES * scale->size + i] = lanes_sum(lanes);
        }
    }
}

/* The update of s from the inner products. */
static void update_scale(const input_scale *scale, const constants *numbers, block_update *update) {
    for (int64_t j = 1; j < scale->groups; j++)
        for (int64_t c = 0; c < scale->size; c += VL)
            vec_store(scale->dots + c, vec_load(scale->dots + c) + vec_load(scale->dots + j * scale->size + c));
    for (int64_t c = 0; c < scale->size; c += PANEL) {
        parameters_block block = {
            .rows = 1, .width = least(PANEL, scale->size - c), .gradient = scale->dots + c, .w = scale->s + c};
        for (int s = 0; s < MAX_SLOTS; s++) block.slots[s] = advance(scale->slots[s], c);
        update(numbers, &block);
    }
}

/* My panels of the scaled W_0. */
static void scale_weights(const input_scale *scale, const layer *first, int rounds, const team *crew, int32_t thread) {
    int64_t begin, end;
    team_share(crew, thread, n_panels(first->fan_out), &begin, &end);
    for (int64_t j = begin; j < end; j++) {
        int64_t width = panel_width(first->fan_out, j), at = panel_at(j, first->fan_in);
        for (int64_t i = 0; i < first->fan_in; i++)
            for (int64_t c = 0; c < width; c += VL, at += VL)
                vec_store(first->params.W + at, vec_load(scale->W + at) * vec_broadcast(scale->s[i]));
        if (rounds) refresh_operands(first, j, 0, first->fan_in);
    }
}
