"""k-means as an estimator of scikit-learn.

In: what scikit-learn's estimators take. Out: the numbers of `certvq.kmeans` under scikit-learn's
names. The only module of this package that imports scikit-learn.
"""

from typing import Any, Final, Literal
from warnings import warn

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from certvq._types import Array, Float64Array, Int64Array
from certvq.assign import assign, prepare
from certvq.assign._sqdist import rounded_sqdist
from certvq.cluster._inertia import rounded_inertia
from certvq.cluster._kmeans import Start, kmeans
from certvq.cluster._loop import Empty
from certvq.cluster._options import require_count
from certvq.cluster._pass import LocalPass
from certvq.cluster._problem import Metric, measured
from certvq.cluster._result import KMeansResult
from certvq.cluster._source import ArraySource
from certvq.cluster._start import TooFewRowsError
from certvq.cluster._unit import UnitSource
from certvq.errors import ShapeError

_RUN: Final = 1 << 64
"""Between the seeds of two runs: beyond every `random_state`, so no two estimators share a run."""


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Cluster rows by `certvq.kmeans`, as scikit-learn's estimators do.

    The names are those of `sklearn.cluster.KMeans`; pipelines, cloning, pickling and searches of
    parameters work.

    Args:
        n_clusters: K.
        init: `start` of `certvq.kmeans`: ``"k-means++"``, ``"k-means||"``, ``"random"`` or an array
            (K, D).
        n_init: how many starts are tried; the run of least inertia is kept, the first of several.
            ``"auto"`` is 10 for ``"random"``, otherwise 1.
        max_iter: iterations at most.
        tol: stop when the inertia falls by no more than this share of it (scikit-learn measures how
            far the centres move); 0 goes on until the centres repeat themselves.
        random_state: an integer is the seed of the first run, as `certvq.kmeans` takes it, and the
            n-th run after it has that seed plus ``2**64 n``; None, or a generator of NumPy's, gives
            an integer as scikit-learn draws it.
        metric: ``"euclidean"`` or ``"cosine"``, as in `certvq.kmeans`.
        empty: ``"split"``, ``"keep"`` or ``"raise"``, as in `certvq.kmeans`.

    Attributes:
        cluster_centers_: (K, D), float32 for rows of float32, otherwise float64.
        labels_: int64 (N,), the lowest nearest centre of each row.
        inertia_: total of weights times squared distances, rounded once.
        n_iter_: iterations of the run that was kept.
        n_features_in_: D.
        feature_names_in_: names of the columns, where a data frame was given.

    Guarantee: that of `certvq.kmeans`: the result is a function of the numbers, weights and
        parameters. ``labels_`` equals ``predict(X)``, also for the same numbers in another type.
    Ties: the lowest centre.

    Example:
        >>> import numpy as np
        >>> from certvq.cluster import KMeans
        >>> rows = np.array([[0.0], [1.0], [10.0], [11.0], [12.0]])
        >>> model = KMeans(2).fit(rows)
        >>> sorted(model.cluster_centers_.ravel().tolist()), model.inertia_
        ([0.5, 11.0], 2.5)
        >>> bool((model.labels_ == model.predict(rows)).all())
        True
    """

    cluster_centers_: Array
    labels_: Int64Array
    inertia_: float
    n_iter_: int

    def __init__(  # noqa: PLR0913 - scikit-learn's names, each a parameter of its own
        self,
        n_clusters: int = 8,
        *,
        init: Start = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 0.0,
        random_state: Any = 0,
        metric: Metric = "euclidean",
        empty: Empty = "split",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.metric: Metric = metric
        self.empty: Empty = empty

    def fit(
        self,
        X: Array,  # noqa: N803
        y: object = None,
        sample_weight: Array | None = None,
    ) -> "KMeans":
        """Find the centres.

        Args:
            X: (N, D) finite numbers; integers and other types become float64.
            y: nothing; scikit-learn's pipelines pass it.
            sample_weight: (N,) at least 0; None where each row counts 1.

        Returns:
            This estimator.

        Raises:
            ShapeError: fewer rows than clusters, or not one weight for each row.
            OptionError: a parameter out of range, or fewer distinct rows than clusters.
            ValueError: NaN or infinity, or no matrix, in scikit-learn's words.
            DataError, NonFiniteError, EmptyCellError: as `certvq.kmeans`.
        """
        del y
        rows: Any = validate_data(self, X, dtype=[np.float64, np.float32])
        size = require_count("n_clusters", self.n_clusters, 1)
        if len(rows) < size:
            text = (
                f"n_samples={len(rows)} must be at least n_clusters={size}; use fewer clusters, or "
                "more rows"
            )
            raise ShapeError(text)
        best = self._best(rows, sample_weight)
        self.cluster_centers_, self.labels_ = best.codebook, best.codes
        self.inertia_, self.n_iter_ = best.inertia, best.iterations
        self._n_features_out = size
        return self

    def _best(self, rows: np.ndarray, weights: Array | None) -> KMeansResult:
        try:
            runs = [self._run(rows, weights, self.init, seed) for seed in self._seeds()]
        except TooFewRowsError:
            start = self._distinct(rows, weights)
            text = (
                f"{len(start)} distinct rows of positive weight are fewer than n_clusters="
                f"{self.n_clusters}; each is a centre of its own, and the last centre is repeated"
            )
            warn(text, ConvergenceWarning, stacklevel=3)
            places = np.minimum(np.arange(self.n_clusters), len(start) - 1)
            return self._run(rows, weights, start[places], 0)
        return min(runs, key=lambda found: found.inertia)

    def _run(
        self, rows: np.ndarray, weights: Array | None, start: Start, seed: int
    ) -> KMeansResult:
        return kmeans(
            rows,
            self.n_clusters,
            start=start,
            iterations=self.max_iter,
            tolerance=self.tol,
            seed=seed,
            weights=weights,
            metric=self.metric,
            empty=self.empty,
        )

    def _distinct(self, rows: np.ndarray, weights: Array | None) -> np.ndarray:
        """Return the different rows of positive weight in lexicographic order."""
        if weights is not None:
            rows = rows[np.asarray(weights) > 0]
        return np.unique(self._measured(rows, str(rows.dtype)), axis=0)

    def _seeds(self) -> list[int]:
        several = isinstance(self.init, str) and self.init == "random"
        runs: Any = (10 if several else 1) if self.n_init == "auto" else self.n_init
        count, first = require_count("n_init", runs, 1), self._seed()
        return [first + run * _RUN for run in range(count)]

    def _seed(self) -> int:
        if self.random_state is None or hasattr(self.random_state, "randint"):
            return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return require_count("random_state", self.random_state, 0, _RUN)

    def predict(self, X: Array) -> Int64Array:  # noqa: N803
        """Find the nearest centre of each row.

        Args:
            X: (N, D) finite numbers.

        Returns:
            int64 (N,).

        Raises:
            NotFittedError: before `fit`.
            ValueError: another number of columns, NaN or infinity, in scikit-learn's words.
            DataError: a row of zeros, with ``metric="cosine"``.

        Guarantee: that of `certvq.assign`.
        """
        return assign(self._measurable(X), self.cluster_centers_).codes

    def transform(self, X: Array) -> Float64Array:  # noqa: N803
        """Measure how far each row is from each centre.

        Args:
            X: (N, D) finite numbers.

        Returns:
            float64 (N, K): roots of squared distances that were rounded once. For cosine these are
            distances between directions.

        Raises:
            NotFittedError, ValueError, DataError: as `predict`.

        Cost: O(N K D).
        """
        rows, centers = self._measurable(X), self.cluster_centers_
        prepared = prepare(centers)
        codes = (np.full(len(rows), code) for code in range(len(centers)))
        return np.sqrt(np.stack([rounded_sqdist(rows, prepared, c) for c in codes], axis=1))

    def score(
        self,
        X: Array,  # noqa: N803
        y: object = None,
        sample_weight: Array | None = None,
    ) -> float:
        """Return minus the inertia of rows, rounded once.

        Args:
            X: (N, D) finite numbers.
            y: nothing; scikit-learn's searches pass it.
            sample_weight: (N,) at least 0; None where each row counts 1.

        Returns:
            A number of at most 0; of the rows and weights of `fit` it is ``-inertia_``.

        Raises:
            NotFittedError, ValueError, DataError: as `predict`.
            ShapeError: not one weight for each row.
        """
        del y
        source = ArraySource(self._measurable(X))
        problem = measured(source, sample_weight, "euclidean", 1)
        look = LocalPass(problem.source, problem.grids, problem.weights, problem.count)
        tally = look.tally(self.cluster_centers_, squares=True)
        assert tally.squares is not None
        return -rounded_inertia(tally.sums, self.cluster_centers_, tally.squares)

    def _measurable(self, X: Array) -> np.ndarray:  # noqa: N803
        """Return the rows as `fit` has measured them: directions are rounded to its type."""
        check_is_fitted(self)
        rows: Any = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._measured(rows, str(self.cluster_centers_.dtype))

    def _measured(self, rows: np.ndarray, number: str) -> np.ndarray:
        if self.metric != "cosine":
            return rows
        units = UnitSource(ArraySource(rows), number)
        return np.concatenate([block for _, block in units.blocks()])
