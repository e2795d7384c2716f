"""Each formula that PyTorch has: twenty steps in float64 from the same weights, over the same batches.

PyTorch takes the mean of a loss over rows and outputs; here it is the sum over the outputs, half of it where that is
the custom. Momentum is compared at a constant rate, since here as in scikit-learn the velocity contains the rate.
"""

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any

import numpy as np
import pytest
import reference

from fastmlp import Trainer, _core
from fastmlp.schedules import SCHEDULES

torch = pytest.importorskip("torch", minversion="2.6")
F = torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_UNITS = (5, 9, 7, 3)
BATCH, N_BATCHES, N_EPOCHS = 16, 5, 4
N_STEPS = N_BATCHES * N_EPOCHS
RATE = 0.02
X = np.random.default_rng(0).standard_normal((BATCH * N_BATCHES, N_UNITS[0]))

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda Z: Z,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
}


def sign(Y: Any) -> Any:
    return 2 * Y - 1


def pinball(Z: Any, Y: Any, q: Any = 0.5) -> Any:
    return torch.maximum(q * (Y - Z), (q - 1) * (Y - Z)).sum()


def label_smoothing(Z: Any, Y: Any, smoothing: float) -> Any:
    return F.binary_cross_entropy_with_logits(Z, Y * (1 - smoothing) + smoothing / 2, reduction="sum")


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "log_loss": partial(F.cross_entropy, reduction="sum"),
    "binary_log_loss": partial(F.binary_cross_entropy_with_logits, reduction="sum"),
    "squared_error": lambda Z, Y: F.mse_loss(Z, Y, reduction="sum") / 2,
    "poisson": partial(F.poisson_nll_loss, log_input=True, reduction="sum"),
    "hinge": lambda Z, Y: F.hinge_embedding_loss(sign(Y) * Z, -torch.ones_like(Z), reduction="sum"),
    "squared_hinge": lambda Z, Y: (F.relu(1 - sign(Y) * Z) ** 2).sum(),
    "perceptron": lambda Z, Y: F.margin_ranking_loss(Z, torch.zeros_like(Z), sign(Y), reduction="sum"),
    "absolute_error": partial(F.l1_loss, reduction="sum"),
    "huber": partial(F.huber_loss, reduction="sum"),
    "quantile": pinball,
    "gamma": lambda Z, Y: (Z + Y * torch.exp(-Z)).sum(),
}

ADAM = {"epsilon": 1e-30}
"""PyTorch adds epsilon after the correction of the bias, scikit-learn before."""
OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "sgd": ({"solver": "sgd", "momentum": 0.0}, torch.optim.SGD),
    "sgd_momentum": (
        {"solver": "sgd", "momentum": 0.8, "nesterovs_momentum": False},
        partial(torch.optim.SGD, momentum=0.8),
    ),
    "sgd_nesterov": ({"solver": "sgd", "momentum": 0.8}, partial(torch.optim.SGD, momentum=0.8, nesterov=True)),
    "adam": (
        {"solver": "adam", "beta_1": 0.8, "beta_2": 0.95, **ADAM},
        partial(torch.optim.Adam, betas=(0.8, 0.95), eps=1e-30),
    ),
    "rmsprop": (
        {"solver": "rmsprop", "beta_2": 0.95, "epsilon": 1e-3},
        partial(torch.optim.RMSprop, alpha=0.95, eps=1e-3),
    ),
    "adagrad": ({"solver": "adagrad", "epsilon": 1e-3}, partial(torch.optim.Adagrad, eps=1e-3)),
}


plain_descent = partial(torch.optim.SGD, lr=RATE)


class Twin:
    """PyTorch's network with the weights of a trainer."""

    def __init__(self, trainer: Trainer) -> None:
        self.activation = trainer.activation
        self.weights = [torch.tensor(np.array(W), requires_grad=True) for W in trainer.coefs_]
        self.biases = [torch.tensor(np.array(b), requires_grad=True) for b in trainer.intercepts_]
        self.before = self.parameters()

    def forward(self, A: Any) -> Any:
        n_hidden = len(self.weights) - 1
        names = [self.activation] * n_hidden if isinstance(self.activation, str) else self.activation
        for W, b, name in zip(self.weights, self.biases, names, strict=False):
            A = ACTIVATIONS[name](A @ W + b)
        return A @ self.weights[-1] + self.biases[-1]

    def groups(self, weight_decay: float = 0.0) -> list[dict[str, Any]]:
        """Parameters, of which the biases are exempt from decay."""
        return [
            {"params": self.weights, "weight_decay": weight_decay},
            {"params": self.biases, "weight_decay": 0.0},
        ]

    def parameters(self) -> Any:
        return np.concatenate([P.detach().numpy().ravel() for P in (*self.weights, *self.biases)])


def compare(
    loss: str = "squared_error",
    loss_of: Callable[[Any, Any], Any] | None = None,
    optimizer: Callable[[Iterable[Any]], Any] = plain_descent,
    their_decay: float = 0.0,
    schedule: Callable[[Any], Any] | None = None,
    clip_norm: float | None = None,
    y_scale: float = 1.0,
    **settings: Any,
) -> Twin:
    """Train both for twenty steps, and require the same weights; return PyTorch's."""
    Y = y_scale * reference.LOSSES[loss].draw(np.random.default_rng(1), (len(X), N_UNITS[-1]))
    defaults: dict[str, Any] = {"hidden_layer_sizes": N_UNITS[1:-1], "activation": "tanh", "loss": loss, "alpha": 0.0}
    defaults |= {"solver": "sgd", "momentum": 0.0, "learning_rate_init": RATE, "batch_size": BATCH, "shuffle": False}
    defaults |= {"max_iter": N_EPOCHS, "n_iter_no_change": inf, "random_state": 0, "warm_start": True}
    trainer = Trainer(**defaults | {"clip_norm": clip_norm} | settings).initialize(X, Y)
    twin = Twin(trainer)
    stepper = optimizer(twin.groups(their_decay))
    scheduler = schedule(stepper) if schedule else None
    rows, targets = torch.tensor(X).split(BATCH), torch.tensor(Y).split(BATCH)
    for step, (A, T) in enumerate([*zip(rows, targets, strict=True)] * N_EPOCHS, 1):
        stepper.zero_grad()
        ((loss_of or LOSSES[loss])(twin.forward(A), T) / len(A)).backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([*twin.weights, *twin.biases], clip_norm)
        stepper.step()
        if scheduler and step < N_STEPS:
            scheduler.step()
    trainer.fit(X, Y)
    ours = np.concatenate([P.ravel() for P in (*trainer.coefs_, *trainer.intercepts_)])
    theirs = twin.parameters()
    assert np.linalg.norm(theirs - twin.before) > 1e-3 * np.linalg.norm(theirs), "nothing was learned"
    # Twenty steps in float64 lose three or four of its sixteen digits: any formula that differs shows above.
    assert np.linalg.norm(ours - theirs) <= 1e-9 * np.linalg.norm(theirs)
    return twin


def test_every_formula_of_the_engine_is_here() -> None:
    assert set(ACTIVATIONS) == set(_core.ACTIVATIONS)
    assert set(LOSSES) == set(_core.LOSSES)
    assert set(OPTIMIZERS) == set(_core.OPTIMIZERS)


@pytest.mark.parametrize("activation", _core.ACTIVATIONS)
def test_activations(activation: str) -> None:
    compare(activation=activation)


def test_an_activation_for_each_layer() -> None:
    compare(activation=["gelu", "logistic"])


@pytest.mark.parametrize("activation", _core.ACTIVATIONS[:3])
@pytest.mark.parametrize("loss", _core.LOSSES)
def test_losses(loss: str, activation: str) -> None:
    compare(loss, activation=activation)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing(smoothing: float) -> None:
    cross_entropy = partial(F.cross_entropy, reduction="sum", label_smoothing=smoothing)
    compare("log_loss", cross_entropy, label_smoothing=smoothing)
    compare("binary_log_loss", partial(label_smoothing, smoothing=smoothing), label_smoothing=smoothing)


@pytest.mark.parametrize("delta", [0.1, 3.0])
def test_width_of_huber(delta: float) -> None:
    compare("huber", partial(F.huber_loss, reduction="sum", delta=delta), huber_delta=delta)


def test_quantiles() -> None:
    quantiles = [0.1, 0.5, 0.8]
    compare("quantile", partial(pinball, q=torch.tensor(quantiles, dtype=torch.float64)), quantile=quantiles)


@pytest.mark.parametrize("optimizer", _core.OPTIMIZERS)
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_optimizers(optimizer: str, activation: str) -> None:
    settings, theirs = OPTIMIZERS[optimizer]
    compare(optimizer=partial(theirs, lr=RATE), activation=activation, **settings)


def test_decoupled_weight_decay() -> None:
    adam_w = partial(torch.optim.AdamW, lr=RATE, eps=1e-30)
    compare(optimizer=adam_w, their_decay=0.3, solver="adam", weight_decay=0.3, **ADAM)


def test_penalty_is_pytorchs_weight_decay() -> None:
    """Of the other kind, which adds to the gradient; here it is divided by the rows of a batch."""
    compare(their_decay=0.3, alpha=0.3 * BATCH)


def test_clipping() -> None:
    # PyTorch adds 1e-6 to the norm that it divides by: nothing beside that of these gradients.
    compare(clip_norm=5.0, y_scale=1e6)
    compare(clip_norm=5.0, y_scale=1e6, solver="adam", **ADAM, optimizer=partial(torch.optim.Adam, lr=RATE, eps=1e-30))
    compare(clip_norm=1e3)


lr = torch.optim.lr_scheduler
N_RISING = N_STEPS // 4
SCHEDULES_OF_PYTORCH: dict[str, Callable[[Any], Any]] = {
    "cosine": partial(lr.CosineAnnealingLR, T_max=N_STEPS),
    "linear": partial(lr.LinearLR, start_factor=1.0, end_factor=0.0, total_iters=N_STEPS),
    "one_cycle": partial(lr.OneCycleLR, max_lr=RATE, total_steps=N_STEPS, cycle_momentum=False),
    "coslog": partial(
        lr.LambdaLR, lr_lambda=lambda step: 0.5 - 0.5 * np.cos(2 * np.pi * np.log2(1 + 15 * step / N_STEPS))
    ),
}


def test_every_schedule_by_steps_is_here() -> None:
    assert set(SCHEDULES_OF_PYTORCH) == {name for name, schedule in SCHEDULES.items() if schedule.factor is not None}


@pytest.mark.parametrize("solver", ["sgd", "adam", "rmsprop", "adagrad"])
@pytest.mark.parametrize("schedule", SCHEDULES_OF_PYTORCH)
def test_schedules(schedule: str, solver: str) -> None:
    settings, optimizer = OPTIMIZERS[solver]
    theirs = partial(optimizer, lr=RATE)
    compare(optimizer=theirs, schedule=SCHEDULES_OF_PYTORCH[schedule], learning_rate=schedule, **settings)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warmup(schedule: str) -> None:
    def warmed(optimizer: Any) -> Any:
        rising = lr.LinearLR(optimizer, start_factor=1 / N_RISING, total_iters=N_RISING - 1)
        rest = lr.CosineAnnealingLR(optimizer, T_max=N_STEPS - N_RISING)
        return lr.SequentialLR(optimizer, [rising, rest], [N_RISING]) if schedule == "cosine" else rising

    compare(schedule=warmed, learning_rate=schedule, warmup=N_RISING / N_STEPS)


def test_a_function_of_progress() -> None:
    compare(
        schedule=partial(lr.LambdaLR, lr_lambda=lambda step: 0.1 ** (step / N_STEPS)),
        learning_rate=lambda progress: 0.1**progress,
    )


def test_all_of_a_modern_recipe() -> None:
    """GELU, AdamW, one cycle, label smoothing."""
    compare(
        "log_loss",
        partial(F.cross_entropy, reduction="sum", label_smoothing=0.1),
        activation="gelu",
        label_smoothing=0.1,
        solver="adam",
        **ADAM,
        weight_decay=0.1,
        their_decay=0.1,
        optimizer=partial(torch.optim.AdamW, lr=RATE, eps=1e-30),
        learning_rate="one_cycle",
        schedule=SCHEDULES_OF_PYTORCH["one_cycle"],
    )
