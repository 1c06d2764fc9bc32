"""The mathematics of vector quantization, as definitions that compute.

In: numbers of any kind that adds and multiplies (`Fraction`, `float`, `int`, a solver's real
terms), nested to any shape, and codes that the caller supplies. Out: what the definitions give;
exact on `int` and `Fraction`. The names are those of TorchLean's VQ-VAE theory in snake_case, and
`tests/spec` holds each of its theorems as an executable law. Must not import anything but the
standard library and `certvq.errors`.
"""

from certvq.spec._codebook import Codebook as Codebook
from certvq.spec._codebook import quantize_at as quantize_at
from certvq.spec._exact import exact as exact
from certvq.spec._gradients import TrainingGradients as TrainingGradients
from certvq.spec._gradients import training_gradients as training_gradients
from certvq.spec._lloyd import LloydIteration as LloydIteration
from certvq.spec._lloyd import lloyd_iteration as lloyd_iteration
from certvq.spec._metric import dot as dot
from certvq.spec._metric import mse as mse
from certvq.spec._metric import squared_l2 as squared_l2
from certvq.spec._model import Decoder as Decoder
from certvq.spec._model import Encoder as Encoder
from certvq.spec._model import Model as Model
from certvq.spec._model import codebook_loss as codebook_loss
from certvq.spec._model import commitment_loss as commitment_loss
from certvq.spec._model import encode as encode
from certvq.spec._model import forward as forward
from certvq.spec._model import loss as loss
from certvq.spec._model import quantized as quantized
from certvq.spec._model import reconstruction_loss as reconstruction_loss
from certvq.spec._nearest import argmin as argmin
from certvq.spec._nearest import is_nearest_code as is_nearest_code
from certvq.spec._nearest import nearest_code as nearest_code
from certvq.spec._nearest import nearest_code_conditions as nearest_code_conditions
from certvq.spec._nearest import nearest_codes as nearest_codes
from certvq.spec._nearest import score as score
from certvq.spec._nearest import squared_distances as squared_distances
from certvq.spec._objective import WeightedThreeTerm as WeightedThreeTerm
from certvq.spec._objective import WeightedTwoTerm as WeightedTwoTerm
from certvq.spec._objective import vqvae_objective_terms as vqvae_objective_terms
from certvq.spec._objective import weighted_three_term as weighted_three_term
from certvq.spec._objective import weighted_two_term as weighted_two_term
from certvq.spec._tensor import Scalar as Scalar
from certvq.spec._tensor import Tensor as Tensor
