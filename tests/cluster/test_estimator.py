"""`certvq.cluster.KMeans` is an estimator of scikit-learn, with the numbers of `certvq.kmeans`."""

import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import certvq
from certvq.errors import BackendUnavailableError, DataError, OptionError, ShapeError

sklearn = pytest.importorskip("sklearn")
from sklearn.cluster import KMeans as TheirKMeans  # noqa: E402
from sklearn.exceptions import ConvergenceWarning, NotFittedError  # noqa: E402
from sklearn.model_selection import GridSearchCV  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import estimator_checks_generator  # noqa: E402

from certvq.cluster import KMeans  # noqa: E402

RNG = np.random.default_rng(16)
ROWS = RNG.standard_normal((300, 4)) + 4 * RNG.integers(0, 3, (300, 1))
NEEDS_A_VARIABLE = "check_array_api_input"  # of the environment
CHECKS = [
    (estimator, check)
    for estimator, check in estimator_checks_generator(KMeans(), mark=None)
    if NEEDS_A_VARIABLE not in repr(check)
]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.rows("check", CHECKS)
def test_scikit_learns_own_checks_pass(check):
    estimator, call = check
    assert call(estimator) is None


def test_the_numbers_are_those_of_the_function():
    weights = RNG.integers(0, 4, len(ROWS))
    model = KMeans(9, random_state=3, max_iter=5).fit(ROWS, sample_weight=weights)
    found = certvq.kmeans(ROWS, 9, seed=3, iterations=5, weights=weights)
    assert np.array_equal(model.cluster_centers_, found.codebook)
    assert np.array_equal(model.labels_, found.codes)
    assert (model.inertia_, model.n_iter_) == (found.inertia, found.iterations)
    assert model.score(ROWS, sample_weight=weights) == -found.inertia


@pytest.mark.rows("metric", ["euclidean", "cosine"])
def test_labels_are_predictions_whatever_the_type_and_the_place(metric):
    rows = (ROWS * 0.3 + 1000).astype(np.float32)
    model = KMeans(12, metric=metric).fit(rows)
    assert model.cluster_centers_.dtype == np.float32
    for same in (rows, rows.astype(np.float64), np.asfortranarray(rows), rows.tolist()):
        assert np.array_equal(model.labels_, model.predict(same))
    assert np.array_equal(model.labels_[7:9], model.predict(rows[7:9]))
    assert model.score(rows.astype(np.float64)) == -model.inertia_
    distances = model.transform(rows)
    assert np.array_equal(distances.argmin(axis=1), model.labels_)
    assert np.square(distances.min(axis=1)).sum() == pytest.approx(model.inertia_)


def test_distances_are_those_of_scikit_learn():
    model = KMeans(5).fit(ROWS)
    theirs = TheirKMeans(5, init=model.cluster_centers_, max_iter=1, n_init=1).fit(ROWS)
    theirs.cluster_centers_ = model.cluster_centers_
    assert np.allclose(model.transform(ROWS), theirs.transform(ROWS), atol=1e-6)
    assert model.get_feature_names_out().tolist() == [f"kmeans{k}" for k in range(5)]


def test_the_best_of_several_starts_is_kept():
    runs = [
        certvq.kmeans(ROWS, 6, start="random", seed=5 + run * 2**64, iterations=300)
        for run in range(10)
    ]
    best = min(runs, key=lambda found: found.inertia)
    assert len({found.inertia for found in runs}) > 1
    model = KMeans(6, init="random", random_state=5).fit(ROWS)
    assert np.array_equal(model.cluster_centers_, best.codebook)


def test_generators_of_numpy_give_the_seed():
    drawn = [KMeans(6, random_state=np.random.RandomState(1)).fit(ROWS) for _ in range(2)]
    assert np.array_equal(drawn[0].cluster_centers_, drawn[1].cluster_centers_)
    seed = int(np.random.RandomState(1).randint(np.iinfo(np.int32).max))
    assert np.array_equal(
        drawn[0].cluster_centers_, KMeans(6, random_state=seed).fit(ROWS).cluster_centers_
    )


def test_pipelines_searches_and_pickles_work():
    pipe = make_pipeline(StandardScaler(), KMeans(4)).fit(ROWS)
    again = pickle.loads(pickle.dumps(pipe))  # noqa: S301
    assert np.array_equal(again.predict(ROWS), pipe[-1].labels_)
    search = GridSearchCV(KMeans(), {"n_clusters": [2, 20]}, cv=2).fit(ROWS)
    assert search.best_params_ == {"n_clusters": 20}


def test_too_few_distinct_rows_are_told_and_each_has_a_centre():
    rows = np.array([[3.0], [1.0], [1.0], [2.0], [9.0]])
    with pytest.warns(ConvergenceWarning, match="3 distinct rows of positive weight are fewer"):
        model = KMeans(4).fit(rows, sample_weight=[1, 1, 1, 1, 0])
    assert model.cluster_centers_.ravel().tolist() == [1.0, 2.0, 3.0, 3.0]
    assert model.labels_.tolist() == [2, 0, 0, 1, 2]
    with pytest.warns(ConvergenceWarning, match="1 distinct rows"):
        assert KMeans(2, metric="cosine").fit([[1.0, 1], [2, 2]]).labels_.tolist() == [0, 0]


@pytest.mark.rows(
    ("parameters", "error", "text"),
    [
        ({"n_clusters": 0}, OptionError, "n_clusters must be an integer of at least 1, got 0"),
        ({"n_clusters": 301}, ShapeError, "n_samples=300 must be at least n_clusters=301"),
        ({"n_init": "many"}, OptionError, "n_init must be an integer of at least 1, got 'many'"),
        ({"random_state": -1}, OptionError, "random_state must be an integer of at least 0"),
        ({"max_iter": -1}, OptionError, "iterations must be an integer of at least 0, got -1"),
        ({"init": "best"}, OptionError, "start must be one of 'k-means++'"),
    ],
)
def test_bad_parameters_are_named(parameters, error, text):
    with pytest.raises(error, match=re.escape(text)):
        KMeans(**parameters).fit(ROWS)


def test_bad_rows_are_named():
    model = KMeans(2, metric="cosine").fit(ROWS)
    with pytest.raises(DataError, match="row 1 is 0"):
        model.predict([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match="NaN"):
        model.predict([[np.nan, 0, 0, 0]])
    with pytest.raises(NotFittedError):
        KMeans().predict(ROWS)


def test_without_scikit_learn_only_the_estimator_is_missing():
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "import certvq.cluster\n"
        "from certvq.errors import BackendUnavailableError\n"
        "try: certvq.cluster.KMeans\n"
        "except BackendUnavailableError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == (
        "certvq.cluster.KMeans needs scikit-learn: pip install 'certvq[sklearn]'"
    )
    assert issubclass(BackendUnavailableError, RuntimeError)
