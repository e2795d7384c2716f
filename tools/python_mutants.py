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
    ("cli/report.py", "PASSES = 5", "PASSES = 6", "one more pass of a measurement, of which the fastest counts"),
]
