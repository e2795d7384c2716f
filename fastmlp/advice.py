"""Advice to whoever trains, from a look that costs next to nothing: at a few rows, and at the last epochs."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastmlp.schedules import SCHEDULES, schedule_of

N_ROWS = 256
"""Rows that are looked at, the same distance apart."""
LARGE = 20.0
"""Inputs whose root of the mean square is above it, or below its inverse, train badly with the usual rates."""
OTHER_SCALE = 5.0
"""A factor between rows to train on and rows to validate on that chance does not explain."""
N_EPOCHS = 5
"""Whose losses say whether a training was still getting better."""


def sizes_of(rows: Any) -> NDArray[np.float64] | None:
    """Root of the mean square of each column, of a few rows; None for a sparse matrix."""
    if not isinstance(rows, np.ndarray):
        return None
    some = rows[:: max(1, len(rows) // N_ROWS)][:N_ROWS].astype(np.float64)
    sizes: NDArray[np.float64] = np.sqrt(np.square(some, out=some).mean(axis=0))
    return sizes


def about_inputs(rows: Any) -> str:
    """What to do where the inputs are not scaled; empty where they are."""
    sizes = sizes_of(rows)
    if sizes is None:
        return ""
    column, largest = int(sizes.argmax()), float(sizes.max())
    advice = "scale X, for example with StandardScaler in a pipeline."
    if largest > LARGE:
        return f"Column {column} of X has values of the size of {largest:.3g}: {advice}"
    if 0 < largest < 1 / LARGE:
        return f"All columns of X have values of the size of {largest:.3g} or smaller: {advice}"
    return ""


def about_validation(rows: Any, held_out: Any) -> str:
    """What to do where the rows to validate on are not scaled as those to train on are; empty where they are."""
    ours, theirs = sizes_of(rows), sizes_of(held_out)
    if ours is None or theirs is None:
        return ""
    scale, other = (float(np.sqrt(np.square(sizes).mean())) for sizes in (ours, theirs))
    if scale / OTHER_SCALE <= other <= scale * OTHER_SCALE:
        return ""
    return (
        f"X has values of the size of {scale:.3g}, but X_val of {other:.3g}: transform X_val as X was, for example "
        'with Pipeline(..., transform_input=["X_val"]).'
    )


def is_falling(loss_curve: list[float]) -> bool:
    """Whether the last epoch was better than the few before."""
    return len(loss_curve) > 1 and loss_curve[-1] < min(loss_curve[-N_EPOCHS - 1 : -1])


def about_the_end(loss_curve: list[float], has_schedule: bool = False) -> str:
    """What to do where the epochs have run out; other than a schedule where there is one."""
    before = loss_curve[-N_EPOCHS - 1 : -1]
    if not before:
        return "Raise max_iter."
    if not is_falling(loss_curve):
        remedy = "lower learning_rate_init" + ("." if has_schedule else ", or let a schedule do so.")
        return f"The loss was no longer falling: {remedy}"
    fallen = (before[0] - loss_curve[-1]) / max(abs(before[0]), np.finfo(float).tiny)
    epochs = "epoch" if len(before) == 1 else f"{len(before)} epochs"
    return (
        f"The loss was still falling, by {100 * fallen:.2g} % in the last {epochs}: raise max_iter, or "
        "learning_rate_init."
    )


def about_max_iter(settings: Any, loss_curve: list[float], rows: Any) -> str:
    """What to say of a training that nothing has stopped before its last epoch; empty where that was the plan.

    Where a schedule ends with the last epoch, only the inputs may be amiss.
    """
    schedule = schedule_of(settings)
    if schedule.ends:
        return about_inputs(rows)
    about_loss = about_the_end(loss_curve, has_schedule=schedule is not SCHEDULES["constant"])
    return (
        f"Stochastic Optimizer: Maximum iterations ({settings.max_iter}) reached and the optimization hasn't converged "
        f"yet. {about_loss} {about_inputs(rows)}".rstrip()
    )
