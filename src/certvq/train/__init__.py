"""Training: configuration, loop, checkpoints, metrics, and the codec to compare with.

In: photographs and a `TrainConfig`. Out: a trained `VQVAE` and a run directory. Must not import
`certvq.tokens`, `certvq.report`, `certvq.jobs` nor `certvq.cli`.
"""

from certvq.train._checkpoint import CheckpointInfo as CheckpointInfo
from certvq.train._checkpoint import read_checkpoint_info as read_checkpoint_info
from certvq.train._codec import patch_kmeans_codec as patch_kmeans_codec
from certvq.train._config import Precision as Precision
from certvq.train._config import TrainConfig as TrainConfig
from certvq.train._fit import fit as fit
from certvq.train._metrics import Figures as Figures
from certvq.train._metrics import perplexity as perplexity
from certvq.train._metrics import usage as usage
from certvq.train._photographs import photographs_digest as photographs_digest
from certvq.train._photographs import require_photographs as require_photographs
from certvq.train._psnr import mean_psnr as mean_psnr
from certvq.train._psnr import psnr as psnr
