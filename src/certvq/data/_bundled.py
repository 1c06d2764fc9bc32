"""The photographs that lie in the packages of scikit-image and scikit-learn.

In: nothing. Out: ten colour photographs, read from the installed files themselves: neither package
is imported, and nothing is ever downloaded. Must not import torch.
"""

from importlib.util import find_spec
from pathlib import Path

from certvq.data._image_file import read_image
from certvq.data._photograph import Photograph
from certvq.errors import DataError

_FILES = {
    # Of the stereo pair the left view only: the right one shows the same scene, and would carry a
    # held-out photograph into the training set. Drawings, textures and grey pictures are left out.
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "immunohistochemistry": ("skimage", "data/ihc.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}

BUNDLED_HELDOUT = ("chelsea", "coffee", "rocket")
"""Keys of the bundled photographs that the demo never trains on: an animal, a still life and a
landscape at night, each of another size and none of them square."""


def bundled_photographs() -> list[Photograph]:
    """Read the colour photographs that come with scikit-image and scikit-learn.

    Returns:
        Ten photographs in the order of their keys: astronaut, chelsea (a cat), china (a temple),
        coffee, flower, hubble_deep_field, immunohistochemistry (tissue under a microscope),
        motorcycle, retina, rocket.

    Raises:
        DataError: a package is not installed, or does not hold the file.
    """
    return [Photograph(key, read_image(_locate(*place))) for key, place in _FILES.items()]


def _locate(package: str, name: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"the bundled photographs need the package {package}; install certvq[train], "
            "or give a folder of images"
        )
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise DataError(
            f"the package {package} does not hold {name}; install another version of it, "
            "or give a folder of images"
        )
    return path
