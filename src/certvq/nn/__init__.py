"""Torch layers: quantizers, the straight-through estimator, codebook updates.

In: latents. Out: code vectors, codes and losses, differentiable. Must not import models or
anything above.
"""

from certvq.nn._ema import EMA as EMA
from certvq.nn._gradient import Gradient as Gradient
from certvq.nn._kmeans import KMeans as KMeans
from certvq.nn._quantize import Quantized as Quantized
from certvq.nn._quantize import VectorQuantize as VectorQuantize
from certvq.nn._revive import Revive as Revive
from certvq.nn._straight_through import straight_through as straight_through
from certvq.nn._uniform import Uniform as Uniform
