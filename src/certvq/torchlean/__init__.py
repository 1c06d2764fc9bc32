"""Codes as documents that TorchLean's own checker reads.

In: inputs, a codebook, codes, and the layers before the search. Out: `crown_query_v1` documents
which say that every real input in a box has its code, and a checker of them in exact rationals,
which shares nothing with the writer. Must not run Lean, nor import torch.
"""

from certvq.torchlean._check import Claimed as Claimed
from certvq.torchlean._check import Verdict as Verdict
from certvq.torchlean._check import check_claim as check_claim
from certvq.torchlean._check import check_document as check_document
from certvq.torchlean._claims import Claim as Claim
from certvq.torchlean._claims import claims as claims
from certvq.torchlean._layers import Dense as Dense
from certvq.torchlean._layers import load_layers as load_layers
