"""Plots, after scikit-learn's conventions of a Display; matplotlib is imported when something is drawn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """The loss of each epoch, in training and on validation rows, with the best epoch marked.

    `from_estimator` makes one; the parameters become attributes.

    Parameters
    ----------
    loss_curve : array-like of shape (n_epochs,)
        Training loss.
    validation_loss_curve : array-like of shape (n_epochs,), default=None
        Validation loss, where there is one.
    best_epoch : int, default=None
        Number of the best epoch, from 1.
    best_by_score : bool, default=False
        Whether it is best by its validation score, which need not be where a loss is lowest.
    estimator_name : str, default=None
        Title of the plot.
    validation_scores : array-like of shape (n_epochs,), default=None
        Validation score, where there is one, drawn on an axis of its own.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Of the training loss, and of the validation loss where there is one.
    best_line_ : matplotlib Line2D or None
        The vertical line at the best epoch.
    score_line_ : matplotlib Line2D or None
        Of the validation score.

    See Also
    --------
    inspection.LearningRateDisplay : The loss after an epoch at each learning rate.
    inspection.diagnose : What may be amiss with a network.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp import LossCurveDisplay, MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier(early_stopping=True, random_state=0).fit(X, y)
    >>> LossCurveDisplay.from_estimator(classifier)  # doctest: +SKIP
    <...>
    """

    def __init__(
        self,
        *,
        loss_curve: ArrayLike,
        validation_loss_curve: ArrayLike | None = None,
        best_epoch: int | None = None,
        best_by_score: bool = False,
        estimator_name: str | None = None,
        validation_scores: ArrayLike | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.best_epoch = best_epoch
        self.best_by_score = best_by_score
        self.estimator_name = estimator_name
        self.validation_scores = validation_scores

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None, ax: Any = None, **line_kwargs: Any) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor, Trainer, TabularClassifier or TabularRegressor
            Fitted. scikit-learn's MLPs have a training loss to draw, too.
        name : str, default=None
            Title; the name of the class by default.
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        **line_kwargs
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            With what was drawn in its attributes.
        """
        check_is_fitted(estimator)
        loss_curve = getattr(estimator, "loss_curve_", [])
        if len(loss_curve) == 0:
            raise ValueError(f"This {type(estimator).__name__} has no loss curve: its solver does not keep one.")
        validation_loss_curve = getattr(estimator, "validation_loss_curve_", None)
        # The epoch whose parameters early stopping has restored, or else the one with the lowest training loss.
        scores = getattr(estimator, "validation_scores_", None) or []
        by_score = not np.isnan(scores).all()  # a scorer may have given NaN only
        first = np.nanargmax(scores) if by_score else np.nanargmin(loss_curve)
        display = cls(
            loss_curve=loss_curve,
            validation_loss_curve=validation_loss_curve,
            best_epoch=getattr(estimator, "best_epoch_", 0) or int(first) + 1,  # of a tie some keep the last
            best_by_score=by_score,
            estimator_name=type(estimator).__name__ if name is None else name,
            validation_scores=scores if by_score else None,
        )
        return display.plot(ax=ax, **line_kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; a new figure by default.
        name : str, default=None
            Title; `estimator_name` by default.
        **line_kwargs
            Passed to matplotlib's ``plot``.

        Returns
        -------
        display : LossCurveDisplay
            With what was drawn in its attributes.
        """
        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError as error:
                raise ImportError('LossCurveDisplay needs matplotlib: pip install "fastmlp[plot]"') from error
            _, ax = plt.subplots()
        curves = {"Training": self.loss_curve, "Validation": self.validation_loss_curve}
        self.lines_ = []
        for label, curve in curves.items():
            if curve is not None:
                epochs = np.arange(1, len(np.asarray(curve)) + 1)
                self.lines_ += ax.plot(epochs, curve, **{"label": label, **line_kwargs})
        self.best_line_ = self.score_line_ = None
        if self.validation_scores is not None:
            self.score_line_ = self._drawn_scores(ax, line_kwargs)
        if self.best_epoch is not None:
            style = {"color": "gray", "linestyle": "--", "linewidth": 1}
            n = self.best_epoch
            label = f"Best validation score (epoch {n})" if self.best_by_score else f"Best epoch ({n})"
            self.best_line_ = ax.axvline(n, label=label, **style)
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
        ax.set(xlabel="Epoch", ylabel="Loss", title=self.estimator_name if name is None else name)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _drawn_scores(self, ax: Any, line_kwargs: dict[str, Any]) -> Any:
        """The line of the validation scores, whose axis is on the right."""
        color, scores = "#1d7a1d", np.asarray(self.validation_scores)
        right = ax.twinx()
        right.set_ylabel("Validation score", color=color)
        right.tick_params(axis="y", labelcolor=color)
        epochs = np.arange(1, len(scores) + 1)
        options = {"label": "Validation score", "color": color, "linewidth": 1, **line_kwargs}
        return right.plot(epochs, scores, **options)[0]
