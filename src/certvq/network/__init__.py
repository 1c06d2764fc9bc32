"""Encoders over the real numbers: canonical codes.

In: a model and a batch. Out: for each token the code that the network's formula has over the real
numbers, or that it is open. Must not train, nor read files.
"""

from certvq.network._canonical import CanonicalCodes as CanonicalCodes
from certvq.network._canonical import CanonicalEncoder as CanonicalEncoder
from certvq.network._canonical import Rung as Rung
from certvq.network._canonical import canonical_codes as canonical_codes
from certvq.network._capture import capture as capture
from certvq.network._graph import Network as Network
