"""Torch layers: quantizers, gradient estimators, codebook updates.

In: latents. Out: code vectors, codes and losses, differentiable. Must not import models or
anything above.
"""

from certvq.nn._codebook.affine import Affine as Affine
from certvq.nn._codebook.ema import EMA as EMA
from certvq.nn._codebook.given import Given as Given
from certvq.nn._codebook.gradient import Gradient as Gradient
from certvq.nn._codebook.kmeans import KMeans as KMeans
from certvq.nn._codebook.online import Online as Online
from certvq.nn._codebook.statistics import Revive as Revive
from certvq.nn._codebook.uniform import Uniform as Uniform
from certvq.nn._core.code_usage import CodeUsage as CodeUsage
from certvq.nn._core.latents import PADDING as PADDING
from certvq.nn._core.latents import LayoutName as LayoutName
from certvq.nn._core.quantizer import BaseQuantizer as BaseQuantizer
from certvq.nn._core.quantizer import Found as Found
from certvq.nn._core.quantizer import Quantized as Quantized
from certvq.nn._core.quantizer import Quantizer as Quantizer
from certvq.nn._estimators.each_level import EachLevel as EachLevel
from certvq.nn._estimators.estimator import Estimator as Estimator
from certvq.nn._estimators.estimator import StraightThrough as StraightThrough
from certvq.nn._estimators.estimator import straight_through as straight_through
from certvq.nn._estimators.exchange import exchange as exchange
from certvq.nn._estimators.gumbel import Gumbel as Gumbel
from certvq.nn._estimators.noise_dropout import NoiseDropout as NoiseDropout
from certvq.nn._estimators.reparam import Reparam as Reparam
from certvq.nn._estimators.rotation_trick import RotationTrick as RotationTrick
from certvq.nn._levels.beam import Beam as Beam
from certvq.nn._levels.grouped_residual import GroupedResidual as GroupedResidual
from certvq.nn._levels.grouped_residual_vq import GroupedResidualVQ as GroupedResidualVQ
from certvq.nn._levels.heads import Heads as Heads
from certvq.nn._levels.hierarchical import HierarchicalVQ as HierarchicalVQ
from certvq.nn._levels.level_dropout import LevelDropout as LevelDropout
from certvq.nn._levels.product import ProductQuantize as ProductQuantize
from certvq.nn._levels.project import Project as Project
from certvq.nn._levels.refine import Refine as Refine
from certvq.nn._levels.residual import Residual as Residual
from certvq.nn._levels.residual_fsq import GroupedResidualFSQ as GroupedResidualFSQ
from certvq.nn._levels.residual_fsq import ResidualFSQ as ResidualFSQ
from certvq.nn._levels.residual_lfq import GroupedResidualLFQ as GroupedResidualLFQ
from certvq.nn._levels.residual_lfq import ResidualLFQ as ResidualLFQ
from certvq.nn._levels.residual_sim_vq import ResidualSimVQ as ResidualSimVQ
from certvq.nn._levels.residual_vq import ResidualVQ as ResidualVQ
from certvq.nn._levels.rotated import Rotated as Rotated
from certvq.nn._levels.scaled import Scaled as Scaled
from certvq.nn._regularizers.diversity import Diversity as Diversity
from certvq.nn._regularizers.orthogonal import Orthogonal as Orthogonal
from certvq.nn._regularizers.regularizer import Batch as Batch
from certvq.nn._regularizers.regularizer import Regularizer as Regularizer
from certvq.nn._scalar.binary_mapper import BinaryMapper as BinaryMapper
from certvq.nn._scalar.bit_entropy import Entropy as Entropy
from certvq.nn._scalar.evo_lfq import EvoLFQ as EvoLFQ
from certvq.nn._scalar.evo_lfq import Generation as Generation
from certvq.nn._scalar.evo_lfq import Reconstructed as Reconstructed
from certvq.nn._scalar.evolution import Evolution as Evolution
from certvq.nn._scalar.fsp import FSP as FSP
from certvq.nn._scalar.fsq import FSQ as FSQ
from certvq.nn._scalar.latent_quantize import LatentQuantize as LatentQuantize
from certvq.nn._scalar.lfq import LFQ as LFQ
from certvq.nn._scalar.moments import Moments as Moments
from certvq.nn._vector.accumulate import accumulate as accumulate
from certvq.nn._vector.neural_codebook import Neural as Neural
from certvq.nn._vector.neural_codebook import NeuralCodebook as NeuralCodebook
from certvq.nn._vector.random_projection import (
    RandomProjectionQuantizer as RandomProjectionQuantizer,
)
from certvq.nn._vector.sim_vq import SimVQ as SimVQ
from certvq.nn._vector.vector_options import MetricName as MetricName
from certvq.nn._vector.vector_quantize import VectorQuantize as VectorQuantize
