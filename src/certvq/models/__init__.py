"""Models: encoders and decoders around a certified quantizer, and their files.

In: images. Out: codes, reconstructions, losses; folders of weights. Must not import training, data
or anything above.
"""

from certvq.models._config import VQVAEConfig as VQVAEConfig
from certvq.models._digest import codebook_digest as codebook_digest
from certvq.models._digest import model_digest as model_digest
from certvq.models._vqvae import VQVAE as VQVAE
from certvq.models._vqvae import VQVAEOutput as VQVAEOutput
