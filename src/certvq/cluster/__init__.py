"""k-means whose result is a function of the numbers, and what is made of it.

In: rows of any library. Out: codebooks with their certified codes. Each iteration is a pass of
`certvq.assign` and exact sums; nothing depends on how the rows are read. Must not import torch
unless a tensor is at hand, nor scikit-learn before `KMeans` is asked for.
"""

from typing import TYPE_CHECKING

from certvq.cluster._kmeans import kmeans as kmeans
from certvq.cluster._product import ProductKMeansResult as ProductKMeansResult
from certvq.cluster._product import product_kmeans as product_kmeans
from certvq.cluster._residual import ResidualKMeansResult as ResidualKMeansResult
from certvq.cluster._residual import residual_kmeans as residual_kmeans
from certvq.cluster._result import KMeansResult as KMeansResult
from certvq.cluster._result import Stopped as Stopped

if TYPE_CHECKING:
    from certvq.cluster._estimator import KMeans as KMeans


def __getattr__(name: str) -> object:
    """Import the estimator, which needs scikit-learn, when it is first asked for."""
    if name != "KMeans":
        text = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(text)
    from importlib import import_module

    from certvq.errors import BackendUnavailableError

    try:
        import_module("sklearn")
    except ModuleNotFoundError as error:
        text = "certvq.cluster.KMeans needs scikit-learn: pip install 'certvq[sklearn]'"
        raise BackendUnavailableError(text) from error
    return import_module("certvq.cluster._estimator").KMeans


def __dir__() -> list[str]:
    """Name what `__getattr__` would import, where scikit-learn is installed."""
    from importlib.util import find_spec

    return sorted({*globals(), *(["KMeans"] if find_spec("sklearn") else [])})
