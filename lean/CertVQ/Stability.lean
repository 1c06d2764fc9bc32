import CertVQ.CauchySchwarz

/-!
# How far a latent may move before its code changes

In: a latent, a perturbation of it, and a codebook. Out: exactly when a code stays nearest, and the
stability radius that `certvq.stability_radius` reports. Imports `CertVQ.CauchySchwarz`.
-/

namespace CertVQ

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

theorem squaredL2_perturb_sub (n : Nat) (z delta c c' : Nat → α) :
    squaredL2 n (fun k => z k + delta k) c' - squaredL2 n (fun k => z k + delta k) c =
      squaredL2 n z c' - squaredL2 n z c - 2 * dot n delta (fun k => c' k - c k) := by
  induction n with
  | zero => simp only [squaredL2, dot, sumTo]; grind
  | succ n ih => simp only [squaredL2, dot, sumTo] at ih ⊢; grind

theorem dot_sub_self (n : Nat) (x y : Nat → α) :
    dot n (fun k => x k - y k) (fun k => x k - y k) = squaredL2 n x y := rfl

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- After a perturbation `delta` of the latent, code `i` is nearest if and only if for every code
`j` twice `delta . (C_j - C_i)` is at most the lead that `i` had over `j`. -/
theorem isNearestCode_of_perturbation (K n : Nat) (C : Nat → Nat → α) (z delta : Nat → α) (i : Nat)
    (hi : i < K) :
    IsNearestCode K n C (fun k => z k + delta k) i ↔
      ∀ j, j < K → 2 * dot n delta (fun k => C j k - C i k) ≤
        squaredL2 n z (C j) - squaredL2 n z (C i) := by
  constructor
  · intro h j hj
    have h1 := h.2 j hj
    have h2 := squaredL2_perturb_sub n z delta (C i) (C j)
    grind
  · intro h
    refine ⟨hi, fun j hj => ?_⟩
    have h1 := h j hj
    have h2 := squaredL2_perturb_sub n z delta (C i) (C j)
    grind

/-- The stability radius: if `i` is nearest, and for every other code `j` the perturbation is no
longer than a radius `r j` with `4 (r j)^2 |C_j - C_i|^2 ≤ (d_j - d_i)^2`, then `i` remains so. -/
theorem isNearestCode_of_small_perturbation (K n : Nat) (C : Nat → Nat → α) (z delta r : Nat → α)
    (i : Nat) (hnear : IsNearestCode K n C z i)
    (hradius : ∀ j, j < K → j ≠ i → 4 * (r j * r j) * squaredL2 n (C i) (C j) ≤
      (squaredL2 n z (C j) - squaredL2 n z (C i)) * (squaredL2 n z (C j) - squaredL2 n z (C i)))
    (hdelta : ∀ j, j < K → j ≠ i → squaredL2 n delta (fun _ => 0) ≤ r j * r j) :
    IsNearestCode K n C (fun k => z k + delta k) i := by
  refine (isNearestCode_of_perturbation K n C z delta i hnear.1).mpr (fun j hj => ?_)
  have hgap : 0 ≤ squaredL2 n z (C j) - squaredL2 n z (C i) := by
    have := hnear.2 j hj
    grind
  by_cases hji : j = i
  · subst hji
    have h1 : dot n delta (fun k => C j k - C j k) = sumTo n (fun _ => 0) :=
      sumTo_congr (fun k _ => by grind)
    rw [h1, sumTo_zero]
    grind
  · have h1 := hradius j hj hji
    have h2 := hdelta j hj hji
    have h3 := dot_mul_self_le n delta (fun k => C j k - C i k)
    have h4 : squaredL2 n delta (fun _ => 0) = dot n delta delta :=
      sumTo_congr (fun k _ => by grind)
    rw [dot_sub_self, squaredL2_comm n (C j) (C i)] at h3
    have h5 := mul_nonneg (a := r j * r j - dot n delta delta) (by grind)
      (squaredL2_nonneg n (C i) (C j))
    exact le_of_mul_self_le hgap (by grind)

end OrderedRing

end CertVQ
