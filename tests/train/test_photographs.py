"""Photographs that a configuration cannot use are named before anything is trained."""

from collections.abc import Callable

import numpy as np
import pytest

from certvq.data import Photograph
from certvq.errors import DataError
from certvq.train import TrainConfig, photographs_digest, require_photographs

Make = Callable[..., TrainConfig]


def _flat(key: str, height: int, width: int, channels: int = 3) -> Photograph:
    return Photograph(key, np.zeros((height, width, channels), np.uint8))


def test_usable_photographs_pass(tiny_config: Make, photographs: list[Photograph]) -> None:
    assert require_photographs(tiny_config(), photographs[:2], photographs[2:]) is None


@pytest.mark.parametrize(
    ("train", "validation", "text"),
    [
        ([], ["v"], "at least one photograph is needed to train on, got none"),
        (["t"], [], "at least one photograph is needed to validate on, got none"),
    ],
)
def test_an_empty_split_is_refused(
    tiny_config: Make, train: list[str], validation: list[str], text: str
) -> None:
    given = [[_flat(key, 20, 20) for key in keys] for keys in (train, validation)]
    with pytest.raises(DataError, match=text):
        require_photographs(tiny_config(), *given)


def test_other_channels_than_the_model_are_refused(tiny_config: Make) -> None:
    with pytest.raises(DataError, match="'grey' has 1 channels, the network takes 3"):
        require_photographs(tiny_config(), [_flat("grey", 20, 20, 1)], [_flat("v", 20, 20, 1)])


def test_a_photograph_below_the_stride_is_refused(tiny_config: Make) -> None:
    with pytest.raises(DataError, match="'thin' is 20 x 3 pixels, smaller than the stride of 4"):
        require_photographs(tiny_config(), [_flat("t", 20, 20)], [_flat("thin", 20, 3)])


def test_a_photograph_below_the_crop_is_refused_for_training_only(tiny_config: Make) -> None:
    small, large = _flat("small", 15, 40), _flat("large", 20, 20)
    require_photographs(tiny_config(), [large], [small])
    text = "'small' is 15 x 40 pixels, smaller than the crops of 16 x 16; set a smaller crop"
    with pytest.raises(DataError, match=text):
        require_photographs(tiny_config(), [small], [large])


def test_the_digest_tells_photographs_and_their_use_apart(photographs: list[Photograph]) -> None:
    a, b, c = photographs
    changed = a.pixels.copy()
    changed[3, 4, 0] ^= 1
    digests = {
        photographs_digest([a, b], [c]),
        photographs_digest([b, a], [c]),
        photographs_digest([a], [b, c]),
        photographs_digest([Photograph("a", changed), b], [c]),
        photographs_digest([Photograph("renamed", a.pixels), b], [c]),
    }
    assert len(digests) == 5
    again = Photograph("a", a.pixels.copy())
    assert photographs_digest([again, b], [c]) == photographs_digest([a, b], [c])
