"""Training on a Dask cluster: rows stay on its workers, which make every step together."""

from importlib.util import find_spec

if find_spec("dask") is None or find_spec("distributed") is None:
    raise ImportError('fastmlp.dask needs Dask: pip install "fastmlp[dask]"', name="distributed")

from fastmlp.dask.blocks import fit_blocks
from fastmlp.dask.estimators import DaskMLPClassifier, DaskMLPRegressor

__all__ = ["DaskMLPClassifier", "DaskMLPRegressor", "fit_blocks"]
