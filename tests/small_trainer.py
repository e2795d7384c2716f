"""A Trainer that trains quickly, and rows for it."""

from typing import Any

import numpy as np

from fastmlp import Trainer

RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (60, 5))
Y = RNG.randint(0, 3, 60, dtype=np.int64)  # not the default, of which Windows has another
Y[:3] = 0, 1, 2


def small(**settings: Any) -> Trainer:
    return Trainer(**{"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, **settings})
