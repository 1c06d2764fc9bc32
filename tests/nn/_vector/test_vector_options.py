"""Options of a vector quantizer, one by one and together."""

import math

import pytest

from certvq.errors import OptionError
from certvq.nn import EMA, Affine, Diversity, Gradient, Orthogonal
from certvq.nn._vector.vector_options import METRICS, require_agreement, require_options


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weight", [0.0, 0.25, 1e30])
def test_what_is_in_range_is_taken(metric, weight):
    assert require_options(1, weight, metric) is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ((0, 1.0, "cosine"), "codebook_size must be at least 1, got 0"),
        ((3, -0.5, "cosine"), "commitment_weight must be finite and at least 0, got -0.5"),
        ((3, math.inf, "cosine"), "commitment_weight must be finite and at least 0, got inf"),
        ((3, math.nan, "cosine"), "commitment_weight must be finite and at least 0, got nan"),
        ((3, 1.0, "dot"), "metric must be 'euclidean' or 'cosine', got 'dot'"),
    ],
)
def test_what_is_out_of_range_is_named(options, text):
    with pytest.raises(OptionError, match=text):
        require_options(*options)


def test_what_agrees_is_taken():
    assert require_agreement("euclidean", EMA(affine=Affine()), (Diversity(),)) is None
    assert require_agreement("cosine", Gradient(), (Orthogonal(), Diversity())) is None


def test_a_map_that_leaves_the_sphere_is_refused():
    with pytest.raises(OptionError, match=r"affine=Affine\(.*unit sphere.*metric='euclidean'"):
        require_agreement("cosine", EMA(affine=Affine()), ())


def test_a_term_of_code_vectors_needs_their_gradient():
    """Whichever of the regularizers it is."""
    with pytest.raises(OptionError, match=r"Orthogonal acts on .*update=EMA\(.*update=Gradient"):
        require_agreement("euclidean", EMA(), (Diversity(), Orthogonal()))
