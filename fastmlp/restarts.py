"""Restarts: trainings from several random weights, of which the best is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf, isnan
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
        with ThreadPoolExecutor(n_workers - 1 if side_by_side else 1) as pool:
            rivals: list[Future[Fit | None]] = []
            try:
                if side_by_side:
                    rivals = [pool.submit(self._rival, seed, n_epochs) for seed in self._seeds]
                try:
                    fit.run(n_epochs, listeners)
                except NonFiniteError as error:
                    failure = error
                trained = [each.result() for each in rivals] or [self._rival(seed, n_epochs) for seed in self._seeds]
            except BaseException:
                for each in rivals:
                    each.cancel()
                fit.deadline = -inf
                for rival in tuple(self._running):
                    rival.deadline = -inf
                raise
        best: Fit | None = None
        best_score = -inf if failure else _score(fit)
        for other in trained:
            if other is not None and _score(other) > best_score:
                best, best_score = other, _score(other)
        if best is not None:
            fit.take_over(best)
        elif failure is not None:
            raise failure

    def _rival(self, seed: int, n_epochs: int) -> Fit | None:
        """Train a rival; None where it has failed, or there is no time for it."""
        if perf_counter() > self._fit.deadline:
            return None
        rival, listeners = self._start(seed)
        self._running.add(rival)
        rival.deadline = self._fit.deadline  # after it is known: whoever ends all changes the one and then the others
        try:
            rival.run(n_epochs, listeners)
        except NonFiniteError:
            return None
        finally:
            self._running.discard(rival)
        return rival


def _score(fit: Fit) -> float:
    """The validation score that it is kept for, or else the negative loss."""
    scores = fit.validation_scores
    score = -fit.last_loss if not scores else max(scores) if fit.best_params is not None else scores[-1]
    return -inf if isnan(score) else score
