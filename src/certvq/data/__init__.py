"""Sources of photographs: bundled, from folders, from arrays; splits and crops.

In: files or arrays. Out: `Photograph` records and batches of uint8 pixels. Must not import torch,
nor anything of certvq but errors and types.
"""

from certvq.data._arrays import from_arrays as from_arrays
from certvq.data._bundled import BUNDLED_HELDOUT as BUNDLED_HELDOUT
from certvq.data._bundled import bundled_photographs as bundled_photographs
from certvq.data._crops import crops as crops
from certvq.data._folder import FolderResult as FolderResult
from certvq.data._folder import load_folder as load_folder
from certvq.data._image_file import read_image as read_image
from certvq.data._image_file import with_channels as with_channels
from certvq.data._key import require_key as require_key
from certvq.data._photograph import Photograph as Photograph
from certvq.data._photograph import require_usable as require_usable
from certvq.data._split import Split as Split
from certvq.data._split import split_by_photograph as split_by_photograph
from certvq.data._walk import Skipped as Skipped
