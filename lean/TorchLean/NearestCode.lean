import CertVQ.Distance
import NN.MLTheory.Generative.Latent.VQVAE

/-!
# The theorems of certvq in the words of TorchLean

NOT COMPILED with this project, which has no dependency: it needs TorchLean and with it Mathlib.
Written against lean-dojo/TorchLean at 411682f6 (`VQVAE.lean`). To compile it, put this file and
the folder `CertVQ` into a checkout of TorchLean, add `CertVQ` to its lakefile, and run `lake env
lean TorchLean/NearestCode.lean`.

In: inequalities as `certvq certify --torchlean` writes them, or a certificate of certvq over the
reals. Out: `IsNearestCode` of TorchLean, and its `nearestCode_minimizes_quantization_loss`.
-/

namespace CertVQ.TorchLean

open NN.MLTheory.Generative.Latent
open scoped BigOperators

variable {numCodes d : Nat} {embedding : Fin numCodes → Fin d → ℝ} {z : Fin d → ℝ}
  {i : Fin numCodes}

/-- One row of a document: `weights . z + bias`, with the weights and the bias that certvq writes. -/
noncomputable def row (a b z : Fin d → ℝ) : ℝ :=
  (∑ k, 2 * (b k - a k) * z k) + ((∑ k, a k ^ 2) - ∑ k, b k ^ 2)

/-- A row is the difference of two squared distances. -/
theorem row_eq (a b z : Fin d → ℝ) : row a b z = VQVAE.squaredL2 z a - VQVAE.squaredL2 z b := by
  unfold row VQVAE.squaredL2
  rw [← Finset.sum_sub_distrib, ← Finset.sum_sub_distrib, ← Finset.sum_add_distrib]
  exact Finset.sum_congr rfl (fun k _ => by ring)

/-- Both documents of an input make its code a nearest one. -/
theorem isNearestCode_of_rows
    (above : ∀ j, i < j → row (embedding i) (embedding j) z ≤ 0)
    (below : ∀ j, j < i → row (embedding i) (embedding j) z < 0) :
    VQVAE.IsNearestCode embedding z i := by
  intro j
  rcases lt_trichotomy i j with h | h | h
  · have := above j h
    rw [row_eq] at this
    linarith
  · exact le_of_eq (by rw [h])
  · have := below j h
    rw [row_eq] at this
    linarith

/-- ... and the lowest of the nearest ones, of which TorchLean does not speak. -/
theorem lowest_of_rows (below : ∀ j, j < i → row (embedding i) (embedding j) z < 0)
    (j : Fin numCodes) (nearest : VQVAE.IsNearestCode embedding z j) : i ≤ j := by
  by_contra h
  have strict := below j (not_le.mp h)
  have least := nearest i
  rw [row_eq] at strict
  linarith

/-- TorchLean's theorem, for documents of certvq. -/
theorem quantization_loss_of_rows
    (above : ∀ j, i < j → row (embedding i) (embedding j) z ≤ 0)
    (below : ∀ j, j < i → row (embedding i) (embedding j) z < 0) (j : Fin numCodes) :
    VQVAE.squaredL2 z (embedding i) ≤ VQVAE.squaredL2 z (embedding j) :=
  VQVAE.nearestCode_minimizes_quantization_loss (isNearestCode_of_rows above below)

/-! ## The two definitions of a nearest code -/

theorem sumTo_eq_sum (n : Nat) (f : Nat → ℝ) : sumTo n f = ∑ k : Fin n, f k := by
  induction n with
  | zero => simp [sumTo]
  | succ n ih => rw [Fin.sum_univ_castSucc]; simp [sumTo, ih]

theorem squaredL2_eq (x y : Nat → ℝ) :
    squaredL2 d x y = VQVAE.squaredL2 (fun k : Fin d => x k) (fun k : Fin d => y k) := by
  unfold squaredL2 VQVAE.squaredL2
  rw [sumTo_eq_sum]
  exact Finset.sum_congr rfl (fun k _ => by ring)

/-- What certvq proves of a code below `numCodes` is what TorchLean calls a nearest code. -/
theorem isNearestCode_iff (C : Nat → Nat → ℝ) (x : Nat → ℝ) (i : Fin numCodes) :
    IsNearestCode numCodes d C x i ↔
      VQVAE.IsNearestCode (fun (j : Fin numCodes) (k : Fin d) => C j k) (fun k : Fin d => x k) i := by
  constructor
  · intro h j
    have := h.2 j j.isLt
    rwa [squaredL2_eq, squaredL2_eq] at this
  · intro h
    refine ⟨i.isLt, fun j hj => ?_⟩
    rw [squaredL2_eq, squaredL2_eq]
    exact h ⟨j, hj⟩

end CertVQ.TorchLean
