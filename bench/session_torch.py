"""PyTorch in the benchmark: eager, compiled, and both in bfloat16."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from bench.engines import MOMENTUM, Orders
from bench.workloads import Workload

ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
}
KNOWN = {"dropout", "weight_decay", "clip_norm", "label_smoothing", "learning_rate"}


class TorchSession:
    """The usual loop on tensors that are in memory, with the fused optimizers; losses are read once an epoch.

    Of `Workload.settings` it knows dropout, weight_decay with adam, clip_norm, label_smoothing
    and two schedules.
    """

    dtype: torch.dtype | None = None
    """Of rows and parameters; None for that of the workload."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        if n_threads:
            torch.set_num_threads(n_threads)
        self._workload = workload
        X, y = workload.data()
        self._X, self._y = torch.from_numpy(X).to(self.dtype), torch.from_numpy(y)
        self._initial = [torch.from_numpy(array) for arrays in workload.initial() for array in arrays]
        self._orders = Orders(workload.n_rows)
        self._settings = dict(workload.settings)
        if unknown := set(self._settings) - KNOWN:
            raise ValueError(f"not in this session: {', '.join(sorted(unknown))}")
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip(workload.n_units, workload.n_units[1:], strict=False):
            layers += [nn.Linear(fan_in, fan_out, dtype=self._X.dtype), ACTIVATIONS[workload.activation]()]
        for place, share in reversed(self._dropout()):
            layers.insert(place, nn.Dropout(share))
        self._model = nn.Sequential(*layers[:-1])
        smoothing = self._settings.get("label_smoothing", 0.0)
        log_loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
        self._criterion = log_loss if workload.loss == "log_loss" else _half_squared_error
        self.reset()

    def reset(self) -> None:
        coefs, intercepts = self._coefs_and_intercepts()
        with torch.no_grad():
            for parameter, values in zip((*coefs, *intercepts), self._initial, strict=True):
                parameter.copy_(values)
        self._optimizer = self._new_optimizer()
        self._scheduler = self._new_scheduler()
        self._orders.reset()

    def turn(self) -> float:
        if self._workload.task == "predict":
            rows = self._X[: self._workload.n_rows]
            with torch.inference_mode():
                for _ in range(self._workload.n_epochs):
                    self._outputs = self._forward(rows)
            return 0.0
        losses: list[torch.Tensor] = []
        batches: tuple[torch.Tensor, ...] = ()
        for order in self._orders.epochs(self._workload.n_epochs):
            batches = torch.from_numpy(order).split(self._workload.batch_size)
            losses = [self._step(rows) for rows in batches]
        weights = torch.tensor([len(rows) for rows in batches], dtype=torch.float64)
        return float(torch.stack(losses).double() @ weights / weights.sum())

    def parameters(self) -> list[NDArray[Any]]:
        if self._workload.task == "predict":
            arrays = [self._outputs]
        else:
            arrays = [array for arrays in self._coefs_and_intercepts() for array in arrays]
        exact = [array.float() if array.dtype == torch.bfloat16 else array for array in arrays]
        return [array.detach().numpy().copy() for array in exact]

    def _forward(self, X: torch.Tensor) -> torch.Tensor:
        with self._context():
            Z: torch.Tensor = self._model(X)
        return Z.softmax(dim=1) if self._workload.loss == "log_loss" else Z

    def _step(self, rows: torch.Tensor) -> torch.Tensor:
        batch, targets = self._X.index_select(0, rows), self._y.index_select(0, rows)
        with self._context():
            loss: torch.Tensor = self._criterion(self._model(batch), targets)
        loss.backward()
        if "clip_norm" in self._settings:
            nn.utils.clip_grad_norm_(self._model.parameters(), self._settings["clip_norm"])
        self._optimizer.step()
        if self._scheduler:
            self._scheduler.step()
        self._optimizer.zero_grad()
        return loss.detach()

    def _context(self) -> AbstractContextManager[Any]:
        """Of the forward pass and the loss."""
        return nullcontext()

    def _coefs_and_intercepts(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        linear = [layer for layer in self._model if isinstance(layer, nn.Linear)]
        return [layer.weight.T for layer in linear], [layer.bias for layer in linear]

    def _dropout(self) -> list[tuple[int, float]]:
        """Place among linear layers and activations, and share."""
        shares = self._settings.get("dropout", 0.0)
        if isinstance(shares, float):
            shares = (0.0, *[shares] * (len(self._workload.n_units) - 2))
        return [(2 * layer, share) for layer, share in enumerate(shares) if share]

    def _new_scheduler(self) -> Any:
        rate, schedulers = self._workload.learning_rate, torch.optim.lr_scheduler
        match self._settings.get("learning_rate"):
            case "cosine":
                return schedulers.CosineAnnealingLR(self._optimizer, self._workload.n_steps)
            case "one_cycle":
                steps = self._workload.n_steps
                return schedulers.OneCycleLR(self._optimizer, rate, total_steps=steps, cycle_momentum=False)
        return None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        workload = self._workload
        if workload.optimizer == "adam" and "weight_decay" in self._settings:
            coefs = [layer.weight for layer in self._model if isinstance(layer, nn.Linear)]
            intercepts = [layer.bias for layer in self._model if isinstance(layer, nn.Linear)]
            groups = [{"params": coefs}, {"params": intercepts, "weight_decay": 0.0}]
            decay = self._settings["weight_decay"]
            return torch.optim.AdamW(groups, lr=workload.learning_rate, weight_decay=decay, fused=True)
        if workload.optimizer == "adam":
            return torch.optim.Adam(self._model.parameters(), lr=workload.learning_rate, fused=True)
        momentum = MOMENTUM if workload.optimizer == "sgd_momentum" else 0.0
        # The fused SGD leaves parameters in bfloat16 unchanged (pytorch/pytorch#191763); all in one call does not.
        how = {"foreach" if self.dtype == torch.bfloat16 else "fused": True}
        return torch.optim.SGD(self._model.parameters(), lr=workload.learning_rate, momentum=momentum, **how)


class CompiledSession(TorchSession):
    """A whole step compiled as one function: gather, forward, loss, gradient (`torch.func`) and update.

    Compiling only the forward pass and the loss, and leaving backward and the optimizer to the eager loop, was tried:
    it is slower than not to compile at all where batches are small.
    """

    def __init__(self, workload: Workload, n_threads: int) -> None:
        torch._dynamo.reset()  # the shapes of the last workload are not to make this one dynamic
        torch._inductor.config.cpp_wrapper = True  # calls the kernels from C++ and not from Python
        super().__init__(workload, n_threads)
        self._params = {name: parameter.detach() for name, parameter in self._model.named_parameters()}
        step: Callable[..., Any] = torch.compile(self._functional_step, dynamic=False)
        self._compiled = step

    def reset(self) -> None:
        super().reset()
        parameters = dict(self._model.named_parameters())
        n_slots = int(self._workload.optimizer == "sgd_momentum")
        self._slots = [{name: torch.zeros_like(p.detach()) for name, p in parameters.items()} for _ in range(n_slots)]

    def _step(self, rows: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self._compiled(self._params, self._slots, self._X, self._y, rows)
        return loss

    def _functional_step(self, params: Any, slots: Any, X: torch.Tensor, y: torch.Tensor, rows: torch.Tensor) -> Any:
        batch, targets = X.index_select(0, rows), y.index_select(0, rows)

        def loss_of(params: Any) -> torch.Tensor:
            return self._criterion(torch.func.functional_call(self._model, params, (batch,)), targets)

        gradient, loss = torch.func.grad_and_value(loss_of)(params)
        rate = self._workload.learning_rate
        for name, parameter in params.items():
            if slots:
                slots[0][name].mul_(MOMENTUM).add_(gradient[name])
            parameter.sub_(rate * (slots[0] if slots else gradient)[name])
        return loss


class Bfloat16Session(TorchSession):
    """Rows, parameters and the optimizer's state in bfloat16."""

    dtype = torch.bfloat16


class CompiledBfloat16Session(CompiledSession):
    """The same, compiled."""

    dtype = torch.bfloat16


class AutocastSession(TorchSession):
    """Parameters in float32, which autocast rounds for each product."""

    def _context(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16)


def _half_squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 0.5 * nn.functional.mse_loss(outputs[:, 0], targets)
