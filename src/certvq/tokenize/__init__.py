"""Tokenize data: sources and a model to a data set, streaming, resumable, here or on Ray.

In: images, sounds or latents, and a model of certvq, of another library, or of one's own. Out: a
token data set whose codes are certified, with counts of how they were decided and of what failed.
The module itself can be called: ``certvq.tokenize(model, sources, out)``.
"""

import sys
from inspect import signature
from types import ModuleType

from certvq.tokenize._audit import SetAudit as SetAudit
from certvq.tokenize._audit import audit_set as audit_set
from certvq.tokenize._codecs._codec import Codec as Codec
from certvq.tokenize._codecs._open import open_codec as open_codec
from certvq.tokenize._columns import Making as Making
from certvq.tokenize._columns import columns as columns
from certvq.tokenize._decode import DecodedSet as DecodedSet
from certvq.tokenize._decode import decode_set as decode_set
from certvq.tokenize._encoder import TokenEncoder as TokenEncoder
from certvq.tokenize._engines import LocalEngine as LocalEngine
from certvq.tokenize._engines import RayEngine as RayEngine
from certvq.tokenize._engines import Work as Work
from certvq.tokenize._items import Item as Item
from certvq.tokenize._items import items as items
from certvq.tokenize._job import State as State
from certvq.tokenize._job import Tokenized as Tokenized
from certvq.tokenize._job import job_of as job_of
from certvq.tokenize._job import tokenize as tokenize
from certvq.tokenize._media import Reading as Reading
from certvq.tokenize._plan import InputPart as InputPart
from certvq.tokenize._plan import plan as plan


class _Callable(ModuleType):
    """The package is also the function that does its main job."""

    __call__ = staticmethod(tokenize)


__signature__ = signature(tokenize)
sys.modules[__name__].__class__ = _Callable
