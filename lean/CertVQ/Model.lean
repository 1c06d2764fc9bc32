import CertVQ.Distance
import CertVQ.Objective

/-!
# The VQ-VAE of the seed and its losses

In: an encoder, a codebook and a decoder of any form and size, an observation `x`, and a code `i`
that the caller supplies. Out: the seed's theorems on the loss, and what the seed leaves to its
caller. Imports `CertVQ.Distance` and `CertVQ.Objective`.
-/

namespace CertVQ

/-- An encoder, a codebook and a decoder. -/
structure Model (α : Type) where
  /-- The dimension of an observation. -/
  obsDim : Nat
  /-- The dimension of a latent and of every code vector. -/
  latentDim : Nat
  /-- The map from observations to latents; any function. -/
  encoder : (Nat → α) → Nat → α
  /-- The code vectors. -/
  codebook : Nat → Nat → α
  /-- The map from code vectors to observations; any function. -/
  decoder : (Nat → α) → Nat → α

/-- The latent of an observation, before quantization. -/
def encode {α : Type} (model : Model α) (x : Nat → α) : Nat → α := model.encoder x

/-- The code vector of an explicit code. -/
def quantized {α : Type} (model : Model α) (i : Nat) : Nat → α := model.codebook i

/-- The reconstruction of an observation under an explicit code. -/
def forward {α : Type} (model : Model α) (_x : Nat → α) (i : Nat) : Nat → α :=
  model.decoder (quantized model i)

/-- Quantization with an explicit code is a look-up in the codebook. -/
theorem quantized_is_codebook_lookup {α : Type} (model : Model α) (i : Nat) :
    quantized model i = model.codebook i := rfl

/-- The reconstruction decodes the selected code vector. -/
theorem forward_eq_decoder_codebook {α : Type} (model : Model α) (x : Nat → α) (i : Nat) :
    forward model x i = model.decoder (model.codebook i) := rfl

section Field

variable {α : Type} [Lean.Grind.Field α]

/-- The mean squared error of the reconstruction. -/
def reconstructionLoss (model : Model α) (x : Nat → α) (i : Nat) : α :=
  mse model.obsDim (forward model x i) x

/-- The term that draws the code vector towards the latent. -/
def codebookLoss (model : Model α) (x : Nat → α) (i : Nat) : α :=
  mse model.latentDim (quantized model i) (encode model x)

/-- The term that draws the latent towards the code vector. -/
def commitmentLoss (model : Model α) (x : Nat → α) (i : Nat) : α :=
  mse model.latentDim (encode model x) (quantized model i)

/-- The objective of a VQ-VAE at commitment weight `beta`. -/
def loss (model : Model α) (beta : α) (x : Nat → α) (i : Nat) : α :=
  reconstructionLoss model x i + codebookLoss model x i + beta * commitmentLoss model x i

/-- The three terms of the loss as a weighted objective. -/
def vqvaeObjectiveTerms (model : Model α) (x : Nat → α) (i : Nat) : WeightedThreeTerm α where
  base := reconstructionLoss model x i
  middle := codebookLoss model x i
  regularizer := commitmentLoss model x i

/-- The loss splits into reconstruction, codebook and commitment terms. -/
theorem vqvae_loss_decomposition (model : Model α) (beta : α) (x : Nat → α) (i : Nat) :
    loss model beta x i =
      reconstructionLoss model x i + codebookLoss model x i + beta * commitmentLoss model x i := rfl

/-- The loss is the weighted three-term objective of its terms. -/
theorem vqvae_loss_eq_weightedThreeTerm (model : Model α) (beta : α) (x : Nat → α) (i : Nat) :
    loss model beta x i = weightedThreeTerm beta (vqvaeObjectiveTerms model x i) := rfl

/-- At commitment weight zero, the loss keeps reconstruction and codebook terms. -/
theorem vqvae_loss_zero_beta (model : Model α) (x : Nat → α) (i : Nat) :
    loss model 0 x i = reconstructionLoss model x i + codebookLoss model x i := by
  unfold loss; grind

/-- If both quantization terms vanish, the loss is the reconstruction term. -/
theorem vqvae_loss_eq_reconstruction_of_zero_quantization (model : Model α) (beta : α)
    (x : Nat → α) (i : Nat) (hcode : codebookLoss model x i = 0)
    (hcommit0 : commitmentLoss model x i = 0) :
    loss model beta x i = reconstructionLoss model x i := by
  unfold loss; grind

/-- Codebook and commitment terms have equal values; they differ in their gradients alone. -/
theorem codebookLoss_eq_commitmentLoss (model : Model α) (x : Nat → α) (i : Nat) :
    codebookLoss model x i = commitmentLoss model x i := by
  unfold codebookLoss commitmentLoss mse; rw [squaredL2_comm]

/-- If the latent is the selected code vector, the loss is the reconstruction term. -/
theorem exactCodeMatch_loss_eq_reconstruction (model : Model α) (beta : α) (x : Nat → α) (i : Nat)
    (hmatch : ∀ k, k < model.latentDim → encode model x k = model.codebook i k) :
    loss model beta x i = reconstructionLoss model x i := by
  have h := exactCodeMatch_selected_distance_zero model.latentDim model.codebook (encode model x) i
    hmatch
  have h0 : commitmentLoss model x i = 0 := by
    unfold commitmentLoss mse quantized
    rw [h, Lean.Grind.Field.div_eq_mul_inv]; grind
  have h1 := codebookLoss_eq_commitmentLoss model x i
  exact vqvae_loss_eq_reconstruction_of_zero_quantization model beta x i (by rw [h1, h0]) h0

end Field

section OrderedField

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A mean squared error is not negative. -/
theorem mse_nonneg {n : Nat} (x y : Nat → α) (hn : 0 < n) : 0 ≤ mse n x y :=
  div_nonneg (squaredL2_nonneg n x y) (count_pos hn)

/-- If the commitment term is not negative, the loss grows with the commitment weight. -/
theorem vqvae_loss_mono_beta_of_commitment_nonneg (model : Model α) (x : Nat → α) (i : Nat)
    (b1 b2 : α) (hbeta : b1 ≤ b2) (hcommit : 0 ≤ commitmentLoss model x i) :
    loss model b1 x i ≤ loss model b2 x i :=
  weightedThreeTerm_mono_weight b1 b2 (vqvaeObjectiveTerms model x i) hbeta hcommit

/-- The reconstruction term is not negative. -/
theorem reconstructionLoss_nonneg (model : Model α) (x : Nat → α) (i : Nat)
    (hn : 0 < model.obsDim) : 0 ≤ reconstructionLoss model x i :=
  mse_nonneg _ _ hn

/-- The codebook term is not negative. -/
theorem codebookLoss_nonneg (model : Model α) (x : Nat → α) (i : Nat)
    (hn : 0 < model.latentDim) : 0 ≤ codebookLoss model x i :=
  mse_nonneg _ _ hn

/-- The commitment term is not negative. -/
theorem commitmentLoss_nonneg (model : Model α) (x : Nat → α) (i : Nat)
    (hn : 0 < model.latentDim) : 0 ≤ commitmentLoss model x i :=
  mse_nonneg _ _ hn

/-- The loss grows with the commitment weight, whatever the model does. -/
theorem vqvae_loss_mono_beta (model : Model α) (x : Nat → α) (i : Nat) (b1 b2 : α)
    (hbeta : b1 ≤ b2) (hn : 0 < model.latentDim) : loss model b1 x i ≤ loss model b2 x i :=
  vqvae_loss_mono_beta_of_commitment_nonneg model x i b1 b2 hbeta
    (commitmentLoss_nonneg model x i hn)

end OrderedField

end CertVQ
