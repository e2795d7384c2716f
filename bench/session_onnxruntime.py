"""ONNX Runtime in the benchmark: predicts with the file that `to_onnx` writes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from bench.session_fastmlp import FastmlpSession
from bench.workloads import Workload


class OnnxruntimeSession:
    """Calls of `run` on an array that is in memory."""

    def __init__(self, workload: Workload, n_threads: int) -> None:
        X, _ = workload.data()
        self._rows, self._n_calls = X[: workload.n_rows], workload.n_epochs
        ours = FastmlpSession(workload, 1)
        ours.reset()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads  # 0: all
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            ours.trainer.to_onnx(path)
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def reset(self) -> None:
        """It does not change."""

    def turn(self) -> float:
        for _ in range(self._n_calls):
            self._outputs: NDArray[Any] = self._session.run(["outputs"], {"X": self._rows})[0]
        return 0.0

    def parameters(self) -> list[NDArray[Any]]:
        return [self._outputs]
