import CertVQ.Order
import CertVQ.Sum
import CertVQ.Distance
import CertVQ.Objective
import CertVQ.Model
import CertVQ.Argmin
import CertVQ.Gradients
import CertVQ.CauchySchwarz
import CertVQ.Filter
import CertVQ.FixedPoint
import CertVQ.Rounding
import CertVQ.Integer
import CertVQ.Stability
import CertVQ.Quantizers
import CertVQ.Lloyd
import CertVQ.KMeans
import CertVQ.Errors
import CertVQ.Norms
import CertVQ.Pooling
import CertVQ.Normalise
import CertVQ.Activations
import CertVQ.Exponential
import CertVQ.Silu
import CertVQ.Slopes
import CertVQ.Softmax
import CertVQ.Program
import CertVQ.Axioms

/-!
# The theory of certvq

In: nothing. Out: every theorem of the project, for any dimension, codebook size and model. Imports
all of its files; nothing outside Lean itself.
-/
