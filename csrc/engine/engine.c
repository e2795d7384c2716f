/* engine.c: the engine, one translation unit per instruction set and real type, included by csrc/isa_*.c.
 *
 * In reading order; each room may use those above it. Nothing here allocates, prints or calls back.
 */
#include "../fastmlp.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "vec.h"
#include "vec_math.h"
#include "team.h"
#include "random.h"
#include "panel.h"
#include "operand.h"
#include "noise.h"
#include "activations.h"
#include "losses.h"
#include "optimizers.h"
#include "gemm.h"
#include "sparse.h"
#include "scratch.h"
#include "timers.h"
#include "gather.h"
#include "input_scale.h"
#include "network.h"
#include "gradients.h"
#include "state.h"
#include "train.h"

extern const fm_engine FM_ENGINE;
const fm_engine FM_ENGINE = {
    .isa = FM_ISA,
    .emulates = !FM_PAIRS,
    .activations = activation_names,
    .losses = loss_list,
    .optimizers = optimizer_names,
    .optimizer_slots = optimizer_slots,
    .phases = phases,
    .layer_phases = layer_phases,
    .scratch_bytes = scratch_bytes,
    .run = run,
    .random_words = random_words,
    .dot = dot,
    .fma_loop = fma_loop,
    .fma_loop_flops = {2 * FMA_CHAINS * VL, 2 * TERMS * FMA_CHAINS * VL},
    .barrier_loop = barrier_loop,
};
