"""Changes of fastmlp/*.py that no test can notice: file, what stands there, what instead, and why.

White space does not count in the search, and the text must stand in the file exactly once. The changes are made by
mutants.py, which draws its sample before it looks here: a name more in the list changes no other.
"""

EQUIVALENT: list[tuple[str, str, str, str]] = [
    (
        "lbfgs.py",
        "step_flops(network, samples.rows, samples.rows.shape[0])",
        "step_flops(network, samples.rows, samples.rows.shape[1])",
        "only the number of threads, on which no result depends",
    ),
    ("threads.py", "over = self._seconds >= TRIAL_SECONDS", "over = self._seconds > TRIAL_SECONDS", "a clock's tick"),
    (
        "threads.py",
        "self._paces: dict[int, float] = {}\n        self._rows, self._steps, self._seconds = 0, 0, 0.0",
        "self._paces: dict[int, float] = {}\n        self._rows, self._steps, self._seconds = 1, 0, 0.0",
        "the pace of the first term, which is compared with no other",
    ),
    (
        "model_file.py",
        "dtype.itemsize > len(content) or",
        "dtype.itemsize >= len(content) or",
        "an element as long as the file leaves no room for the header, which the next condition notices",
    ),
    (
        "base.py",
        "def _encode(self, y: Any, fitted: Fitted, exact: bool = False)",
        "def _encode(self, y: Any, fitted: Fitted, exact: bool = True)",
        "the default of a method that only raises: every estimator has its own",
    ),
    (
        "export/onnx_graph.py",
        "zip(layers.coefs, layers.intercepts, functions, strict=True)",
        "zip(layers.coefs, layers.intercepts, functions, strict=False)",
        "a network has as many weights as biases and functions",
    ),
    (
        "dask/wires.py",
        "self._header, self._expected = bytearray(HEADER.size), (0, 0)",
        "self._header, self._expected = bytearray(HEADER.size), (1, 0)",
        "begin says what is expected before anything is received",
    ),
    (
        "tabular_training.py",
        '- (0 if network.loss == "log_loss" else',
        '- (1 if network.loss == "log_loss" else',
        "the highest of the logits is taken from all of them",
    ),
    ("tabular_training.py", "ROWS_AT_ONCE = 1024", "ROWS_AT_ONCE = 1025", "blocks of any number of rows say the same"),
    (
        "tabular_training.py",
        "rows: Any, n_threads: int = 1) -> NDArray",
        "rows: Any, n_threads: int = 2) -> NDArray",
        "the bits are the same for any number of threads",
    ),
    (
        "tabular_training.py",
        '"early_stopping": True',
        '"early_stopping": False',
        "only says that the memory of the best parameters counts",
    ),
    (
        "tabular_training.py",
        "fit.adopt(settings, restarts=True)",
        "fit.adopt(settings, restarts=False)",
        "the rate of a fit that has not begun is NaN, which is taken as a restart",
    ),
    (
        "tabular_training.py",
        "fit.end(keeps_scratch=False)",
        "fit.end(keeps_scratch=True)",
        "nobody keeps the fit itself",
    ),
    ("tabular_base.py", "quantile = 0.5 if", "quantile = 1.5 if", "read by a loss that has its own"),
    (
        "tabular_base.py",
        "fit.params, [], [], 0)",
        "fit.params, [], [], 1)",
        "a scorer sees no best epoch of the network that it scores",
    ),
    ("tabular_preparation.py", "FARTHEST = 1e150", "FARTHEST = 1e+150", "the same number, as adding 1 changes nothing"),
    ("tabular_preparation.py", "numbers.get(value, -1)", "numbers.get(value, -2)", "any number below 0"),
    (
        "tabular_preparation.py",
        "MOST_RAMPS_IN_ALL // max(1,",
        "MOST_RAMPS_IN_ALL // max(2,",
        "half of them for one column are still more than it may have",
    ),
    ("tabular_preparation.py", "if width > 0 else 0.0", "if width >= 0 else 0.0", "1 / 0 is not finite either"),
    (
        "tabular_preparation.py",
        "Numbers(column.name, 0.0, 0.0, has_missing=False)",
        "Numbers(column.name, 1.0, 0.0, has_missing=False)",
        "the distance from it is multiplied by 0",
    ),
    (
        "tabular_preparation.py",
        "encoding.n_ramps <= most:",
        "encoding.n_ramps < most:",
        "as many edges as there are, all of them are kept",
    ),
    (
        "tabular_preparation.py",
        "if size * n_left > in_all:",
        "if size * n_left >= in_all:",
        "what is left is so many inputs for each",
    ),
    ("tabular_preparation.py", "max(sizes, default=0)", "max(sizes, default=1)", "without categories nobody asks"),
    ("cli/report.py", "PASSES = 5", "PASSES = 6", "one more pass of a measurement, of which the fastest counts"),
]
