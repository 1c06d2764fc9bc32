"""k-means whose result is a function of the numbers, and what is made of it.

In: rows of any library. Out: codebooks with their certified codes. Each iteration is a pass of
`certvq.assign` and exact sums; nothing depends on how the rows are read. Must not import torch
unless a tensor is at hand.
"""

from certvq.cluster._kmeans import kmeans as kmeans
from certvq.cluster._result import KMeansResult as KMeansResult
from certvq.cluster._result import Stopped as Stopped
