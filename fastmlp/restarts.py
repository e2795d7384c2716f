"""Restarts: trainings from several random weights, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf, isnan
from threading import Lock
from time import perf_counter

from fastmlp.fitting import Fit
from fastmlp.listener import Listener, NonFiniteError
from fastmlp.threads import usable_cpus

Start = Callable[[int], tuple[Fit, list[Listener]]]


class Restarts:
    """A training and its rivals, which run as one training does.

    Parameters
    ----------
    fit : Fit
        Ready to run. It takes over what the best of all has reached.
    seeds : sequence of int
        Of the rivals.
    start : callable (seed) -> (Fit, list of Listener)
        Makes a rival ready to run.
    """

    def __init__(self, fit: Fit, seeds: Sequence[int], start: Start) -> None:
        self._fit, self._seeds, self._start = fit, seeds, start
        self._running: set[Fit] = set()
        self._finished = Lock()
        self._best: tuple[float, int, Fit | None] = (-inf, 0, None)  # score, place counted downwards, training

    def run(self, n_epochs: int, listeners: Sequence[Listener]) -> None:
        """Train all, side by side where one thread is enough for each; the result is that of one after another.

        Raises
        ------
        NonFiniteError
            If the parameters of all have become infinite or NaN.
        """
        fit = self._fit
        n_workers = fit.settings.n_threads or usable_cpus()[0]
        side_by_side = fit.n_threads == 1 and n_workers > 1
        failure: NonFiniteError | None = None
        with ThreadPoolExecutor(max(1, n_workers - 1)) as pool:
            rivals: list[Future[None]] = []
            places = range(1, len(self._seeds) + 1)
            try:
                if side_by_side:
                    rivals = [pool.submit(self._compete, place, n_epochs) for place in places]
                try:
                    fit.run(n_epochs, listeners)
                except NonFiniteError as error:
                    failure = error
                for place in () if side_by_side else places:
                    self._compete(place, n_epochs)
                for each in rivals:
                    each.result()
            except BaseException:
                fit.deadline = -inf  # rivals that have not begun see it, too
                for rival in tuple(self._running):
                    rival.deadline = -inf
                raise
        score, _, best = self._best
        if best is not None and score > _score(fit, bool(failure)):
            fit.take_over(best)
        elif failure is not None:
            raise failure

    def _compete(self, place: int, n_epochs: int) -> None:
        """Train a rival, unless there is no time for it, and keep it if it is the best, or the first of the best."""
        if perf_counter() > self._fit.deadline:
            return
        rival, listeners = self._start(self._seeds[place - 1])
        self._running.add(rival)
        rival.deadline = self._fit.deadline  # after it is known: whoever ends all changes the one and then the others
        failed = False
        try:
            rival.run(n_epochs, listeners)
        except NonFiniteError:
            failed = not any(each.survives(rival) for each in listeners)
        finally:
            self._running.discard(rival)
        with self._finished:
            self._best = max(self._best, (_score(rival, failed), -place, rival))


def _score(fit: Fit, failed: bool) -> float:
    """The validation score that it is kept for, or else the negative loss; early stopping keeps some from a failure."""
    scores = [score for score in fit.validation_scores or () if not isnan(score)]
    if fit.best_params is not None:
        return max(scores, default=-inf)
    if failed:
        return -inf
    score = fit.validation_scores[-1] if fit.validation_scores else -fit.last_loss
    return -inf if isnan(score) else score
