"""k-means of a Ray Data set gives the bits of one process."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import certvq
from certvq.cluster import residual_kmeans
from certvq.errors import DataError, NonFiniteError, OptionError

ROWS = np.random.default_rng(3).standard_normal((900, 4)).astype(np.float32)
ROWS[:200] = 5.0


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


def dataset(ray, rows, blocks=6):
    return ray.data.from_numpy(np.array_split(rows, blocks))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_two_workers_find_the_bits_of_one_process(ray, metric):
    from certvq.scale import RayRows

    start = np.concatenate([ROWS[200:207], np.full((5, 4), -90.0, np.float32)])
    for options in (
        {"start": "k-means||", "seed": 3},
        {"start": start if metric == "euclidean" else -start},
    ):
        options |= {"iterations": 4, "metric": metric}
        wanted = certvq.kmeans(ROWS, 12, **options)
        found = certvq.kmeans(RayRows(dataset(ray, ROWS), "data"), 12, **options)
        assert np.array_equal(found.codebook, wanted.codebook)
        assert np.array_equal(found.codes, wanted.codes)
        assert (found.history, found.stopped) == (wanted.history, wanted.stopped)
        assert found.splits.tolist() == wanted.splits.tolist()
    assert metric == "cosine" or wanted.splits.sum() > 0


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [np.float64, np.int32])
def test_weights_come_from_a_column(ray, kind):
    """One of the blocks has no row of positive weight."""
    from certvq.scale import RayRows

    weights = np.random.default_rng(4).integers(0, 5, 900).astype(kind)
    weights[300:450] = 0
    if kind == np.float64:
        weights /= 3.0
    table = {"z": list(ROWS), "w": weights}
    parts = [{name: each[i : i + 150] for name, each in table.items()} for i in range(0, 900, 150)]
    data = ray.data.from_blocks([pa.table(part) for part in parts])
    rows = RayRows(data, "z", weights="w")
    with rows.in_order():
        assert data.context.execution_options.preserve_order
    assert not data.context.execution_options.preserve_order
    start = np.concatenate([ROWS[200:207], np.full((5, 4), -90.0, np.float32)])
    for options in ({"start": "k-means||", "seed": 3}, {"start": start}):
        wanted = certvq.kmeans(ROWS, 12, weights=weights, iterations=4, **options)
        found = certvq.kmeans(rows, 12, iterations=4, **options)
        assert np.array_equal(found.codebook, wanted.codebook)
        assert np.array_equal(found.codes, wanted.codes)
        assert (found.history, found.mass.tolist()) == (wanted.history, wanted.mass.tolist())
        assert found.splits.tolist() == wanted.splits.tolist()
    assert wanted.splits.sum() > 0
    two = residual_kmeans(rows, 4, num_quantizers=2, iterations=2)
    assert (
        two.inertias
        == residual_kmeans(ROWS, 4, num_quantizers=2, iterations=2, weights=weights).inertias
    )
    with pytest.raises(OptionError, match="weights must be None for data that have weights"):
        certvq.kmeans(rows, 12, weights=np.ones(900))
    with pytest.raises(OptionError, match="weights must be one of 'z', 'w', got 'v'"):
        RayRows(data, "z", weights="v")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_columns_of_lists_and_bad_data_sets(ray):
    from certvq.scale import RayRows

    lists = ray.data.from_items([{"z": row.tolist()} for row in ROWS[-60:]], override_num_blocks=3)
    wanted = certvq.kmeans(ROWS[-60:].astype(np.float64), 5, start="random", iterations=3)
    found = certvq.kmeans(RayRows(lists, "z"), 5, start="random", iterations=3)
    assert np.array_equal(found.codebook, wanted.codebook)
    with pytest.raises(OptionError, match="column must be one of 'z', got 'latent'"):
        RayRows(lists, "latent")
    with pytest.raises(OptionError, match="weights must be None for RayRows"):
        certvq.kmeans(RayRows(lists, "z"), 5, weights=np.ones(60))
    bad = ROWS.copy()
    bad[700, 1] = np.nan
    with pytest.raises(NonFiniteError, match="got nan at row 700, column 1"):
        certvq.kmeans(RayRows(dataset(ray, bad), "data"), 5)
    empty = ray.data.from_numpy([np.zeros((0, 4))])
    with pytest.raises((OptionError, DataError)):
        RayRows(empty, "data")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_data_set_that_changes_is_refused(ray):
    from certvq.cluster._grid import extent_of, tight_extent_of
    from certvq.cluster._sums import Grids
    from certvq.scale import RayRows
    from certvq.scale import _Look as Look
    from certvq.scale import _RayPass as RayPass

    rows = RayRows(dataset(ray, ROWS), "data")
    look = RayPass(rows, Look(Grids(extent_of(ROWS, 24)), None), None, 901)
    with pytest.raises(DataError, match="the first had 901 rows, a later one 900; materialize it"):
        look.tally(ROWS[:3], squares=False)
    narrow = RayPass(rows, Look(Grids(tight_extent_of(np.ones((1, 4)))), None), None, 900)
    with pytest.raises(DataError, match="data must not change while they are clustered"):
        narrow.tally(ROWS[:3], squares=False)


def test_without_ray_it_is_named():
    code = (
        "import sys\n"
        "sys.modules['ray'] = None\n"
        "import certvq.scale\n"
        "try: certvq.scale.RayRows(None, 'z')\n"
        "except RuntimeError as error: print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "certvq.scale needs Ray Data: pip install 'certvq[ray]'"
