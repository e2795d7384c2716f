"""One-line mistakes in the engine, each of which some test must notice: file, what stands there, and what instead.

White space does not count, and the text must stand in the file exactly once. A mistake that changes no result, only
speed or a margin of safety, does not belong here; one that no test can notice says why in a fourth item.
"""

MUTANTS: list[tuple[str, str, str] | tuple[str, str, str, str]] = [
    # activations: functions and gradients
    ("activations.h", "return a * (vec_broadcast((real)1) - a)", "return a * (vec_broadcast((real)1) + a)"),
    ("activations.h", "return vec_broadcast((real)1) - a * a", "return vec_broadcast((real)1) - a"),
    ("activations.h", "vec_max(vec_broadcast((real)0), z)", "vec_max(z, vec_broadcast((real)0))"),
    ("activations.h", "vec_select(a > (vec){0}, vec_broadcast", "vec_select(a >= (vec){0}, vec_broadcast"),
    ("activations.h", "{ return vec_logistic(z); }", "{ return vec_tanh(z); }"),
    # losses
    ("losses.h", "for (int64_t k = 1; k < n; k++) m = vec_max", "for (int64_t k = 2; k < n; k++) m = vec_max"),
    ("losses.h", "return vec_fma(ys, vec_log(sum) + maximum, -yz)", "return vec_fma(ys, vec_log(sum), -yz)"),
    ("losses.h", "ys = ys + target", "ys = target"),
    ("losses.h", "vec_select(z < zero, e, one) / (one + e) - y", "vec_select(z < zero, e, one) / (one + e) + y"),
    ("losses.h", "vec_max(zero, z) - y * z + vec_log1p(e)", "vec_max(zero, z) - y * z"),
    ("losses.h", "*delta * *delta * vec_broadcast((real)0.5)", "*delta * *delta"),
    ("losses.h", "return y_log_y - y * z - y + p", "return y_log_y - y * z + p"),
    ("losses.h", "vec_select(y > zero, y, one)", "vec_select(y > zero, y, y)"),
    ("losses.h", "t = vec_select(y > zero, one, -one)", "t = vec_select(y > zero, one, zero)"),
    ("losses.h", "vec_select(margin > zero, -t, zero)", "vec_select(margin > zero, t, zero)"),
    # optimizers
    ("optimizers.h", "vec_broadcast(p->descent) * g); return w + slots[0]", "vec_broadcast(p->descent) * g); return w"),
    ("optimizers.h", "return w + vec_fma(vec_broadcast(p->momentum), slots[0], descent)", "return w + slots[0]"),
    ("optimizers.h", "vec_broadcast(p->rest_2) * (g * g)", "vec_broadcast(p->rest_2) * g"),
    ("optimizers.h", "vec_broadcast(p->rest_1) * g", "vec_broadcast(p->rest_2) * g"),
    ("optimizers.h", "(vec_sqrt(slots[1]) + vec_broadcast(p->epsilon))", "vec_sqrt(slots[1])"),
    ("optimizers.h", "(1 - power(o->beta_1, o->step + 1))", "(1 - power(o->beta_1, o->step + 2))"),
    ("optimizers.h", "sqrt(1 - power(o->beta_2, o->step + 1))", "(1 - power(o->beta_2, o->step + 1))"),
    ("optimizers.h", ".descent = (real)(-rate / weight)", ".descent = (real)(-rate)"),
    ("optimizers.h", ".inverse_weight = (real)(1 / weight)", ".inverse_weight = (real)1"),
    ("optimizers.h", "for (; n > 0; n >>= 1, beta *= beta)", "for (; n > 1; n >>= 1, beta *= beta)"),
    # gemm: products, updates in registers, tails
    ("gemm.h", "rest -= PANEL, a += t->a_panel_size", "rest -= PANEL, a += PANEL"),
    ("gemm.h", "k = t->depth; k > 0; k--, a += PANEL", "k = t->depth; k > 1; k--, a += PANEL"),
    ("gemm.h", "fused_update(&p, w, vec_fma(alpha, w, acc[i][v]))", "fused_update(&p, w, acc[i][v])"),
    ("gemm.h", "penalty ? vec_fma(alpha, w, g) : g", "g"),
    ("gemm.h", "if (penalty) squares[v] = vec_fma(w, w, squares[v])", "if (penalty) squares[v] = w * w"),
    ("gemm.h", "whole = columns / VL * VL", "whole = columns / LANES * LANES"),
    ("gemm.h", "if (whole == columns) return;", "if (whole <= columns) return;"),
    ("gemm.h", "memcpy(last + k * VL, b + k * columns + whole", "memcpy(last + k * VL, b + k * columns"),
    ("gemm.h", "c + whole / PANEL * c_panel_size + whole % PANEL", "c + whole / PANEL * c_panel_size"),
    ("gemm.h", "return (cut){tiles, n / tiles, n % tiles}", "return (cut){tiles, n / tiles, 0}"),
    ("gemm.h", "return c->low + (c->higher-- > 0)", "return c->low + (c->higher-- >= 0)"),
    # sparse rows
    ("sparse.h", "k = x->row_start[i], end = x->row_start[i + 1]", "k = x->row_start[0], end = x->row_start[i + 1]"),
    ("sparse.h", "if (k == end && t->update && !t->squares) continue", "if (k == end) continue"),
    ("gather.h", "int64_t to = next[x->column[k]]++", "int64_t to = next[x->column[k]]"),
    ("gather.h", "x->row[to] = (int32_t)i", "x->row[to] = (int32_t)k"),
    # gathering of rows, targets and weights
    ("gather.h", "return task->order ? task->order[row] : row", "return row"),
    ("gather.h", "if (n_outputs == 1) class = class ^ 1", "if (n_outputs == 2) class = class ^ 1"),
    ("gather.h", "sum += task->sample_weight[source_row(task, i)]", "sum += task->sample_weight[i]"),
    ("gather.h", "not_finite |= is_not_finite(to[c])", "not_finite |= is_not_finite(to[0])"),
    # panels
    ("panel.h", "c = valid; c < width; c++) panel[c] = 0", "c = valid; c < width; c++) panel[c] = 1"),
    ("panel.h", "for (int64_t p = begin; p < end; p++)", "for (int64_t p = begin; p + 1 < end; p++)"),
    ("panel.h", "vec_load(from + (c + i) * VL) : (vec){0}", "vec_load(from + c * VL) : (vec){0}"),
    ("panel.h", "rest < PANEL ? rest : PANEL", "PANEL"),
    # blocks of work, threads
    ("network.h", "b->row_end = least(b->row + b->height, b->rows)", "b->row_end = b->row + b->height"),
    ("network.h", "i < l; i++) at += task->n_units[i + 1]", "i < l; i++) at += task->n_units[i]"),
    ("network.h", "if (b.row == 0) bias_gradient", "bias_gradient"),
    ("network.h", "weight[r] = r < valid ?", "weight[r] = r <= valid ?"),
    ("network.h", "sums.initial += n * sums.initial_stride", "sums.initial += sums.initial_stride"),
    ("network.h", "sums.a += n;", "sums.a += 1;"),
    ("network.h", "if (squares) memset(squares, 0, (size_t)width * sizeof(real))", ";"),
    ("network.h", "(here->fan_in + BLOCK_ROWS - 1) / BLOCK_ROWS", "here->fan_in / BLOCK_ROWS"),
    ("team.h", "*end = n * (thread + 1) / crew->n_threads", "*end = n * (thread + 1) / crew->n_threads - (thread > 0)"),
    ("team.h", "if (crew->n_threads == 1) return;", "return;"),
    # a batch, an epoch
    ("train.h", "if (!how.carry) transpose_weights", "if (how.carry) transpose_weights"),
    ("train.h", "lap(net, thread, PHASE_LOSS); team_barrier(crew);", "lap(net, thread, PHASE_LOSS);"),
    ("train.h", "lap(net, thread, PHASE_GATHER); team_barrier(crew);", "lap(net, thread, PHASE_GATHER);"),
    ("train.h", "loss += 0.5 * alpha * sum_of_squares(net)", "loss += alpha * sum_of_squares(net)"),
    ("train.h", "if (weight > 0) optimizer.step++", "optimizer.step++"),
    ("train.h", "return loss / weight * (double)rows", "return loss * (double)rows"),
    ("train.h", "net->batch_loss = 0;", ";"),
    ("train.h", "if (l > 0) input_gradient", "if (l > 1) input_gradient"),
    ("train.h", "if (not_finite || net->stop == FM_NOT_FINITE) return;", "if (net->stop == FM_NOT_FINITE) return;"),
    ("train.h", ".carry = c.place > 0", ".carry = c.place > 300"),
    ("train.h", "if (time_is_up(net)) net->stop = FM_YIELD; } }", "} }"),
    # vectors: ends of ranges, polynomials
    ("vec.h", "i = 1; i < (int)(sizeof c / sizeof *c); i++", "i = 2; i < (int)(sizeof c / sizeof *c); i++"),
    ("vec.h", "vec_select(x > vec_broadcast(EXP_MAX), vec_broadcast((real)INFINITY), y)", "y"),
    ("vec.h", "FM_REAL_BITS == 32 ? 7 : 16", "FM_REAL_BITS == 32 ? 5 : 11"),
    ("vec.h", "#define LN2_LOW 1.90821492927058770002e-10", "#define LN2_LOW 0.0"),
    ("vec.h", "return vec_copysign(m / (m + vec_broadcast((real)2)), z)", "return m / (m + vec_broadcast((real)2))"),
    ("vec.h", "return vec_select(x == x, y, x)", "return y"),
]  # fmt: skip
