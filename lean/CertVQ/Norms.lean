import CertVQ.CauchySchwarz

/-!
# An upper bound of the spectral norm that is quick to compute

In: a matrix, and upper bounds of the sums of the absolute entries of its rows and of its columns.
Out: how much longer it can make a vector. Imports `CertVQ.CauchySchwarz`.
-/

namespace CertVQ

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- Cauchy and Schwarz with one more term, weighted by `u`, the absolute value of `w`. -/
theorem weighted_step {S P Q w u y : α} (hP : 0 ≤ P) (hQ : 0 ≤ Q) (h : S * S ≤ P * Q)
    (hw : w ≤ u) (hwneg : -w ≤ u) (hu : w * w = u * u) :
    (S + w * y) * (S + w * y) ≤ (P + u) * (Q + u * (y * y)) := by
  have hy := mul_self_nonneg y
  have h1 : 0 ≤ P * (y * y) + Q := by have := mul_nonneg hP hy; grind
  have h2 : (2 * S * y) * (2 * S * y) ≤ (P * (y * y) + Q) * (P * (y * y) + Q) := by
    have e1 := mul_nonneg (a := P * Q - S * S) (by grind) hy
    have e2 := mul_self_nonneg (P * (y * y) - Q)
    grind
  have h3 := le_of_mul_self_le h1 h2
  have h4 : -(2 * S * y) ≤ P * (y * y) + Q := le_of_mul_self_le h1 (by grind)
  have h5 := mul_nonneg (a := u - w) (b := P * (y * y) + Q + 2 * S * y) (by grind) (by grind)
  have h6 := mul_nonneg (a := u + w) (b := P * (y * y) + Q - 2 * S * y) (by grind) (by grind)
  have h7 : w * w * (y * y) = u * u * (y * y) := by rw [hu]
  grind

theorem dot_mul_self_le_weighted (n : Nat) (w v : Nat → α) :
    dot n w v * dot n w v ≤
      sumTo n (fun k => abs (w k)) * sumTo n (fun k => abs (w k) * (v k * v k)) := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih =>
    have h1 : 0 ≤ sumTo n (fun k => abs (w k)) := sumTo_nonneg (fun k _ => abs_nonneg (w k))
    have h2 : 0 ≤ sumTo n (fun k => abs (w k) * (v k * v k)) :=
      sumTo_nonneg (fun k _ => mul_nonneg (abs_nonneg (w k)) (mul_self_nonneg (v k)))
    have h3 : w n * w n = abs (w n) * abs (w n) := by unfold abs; split <;> grind
    have h4 := weighted_step (y := v n) h1 h2 ih (le_abs (w n)) (neg_le_abs (w n)) h3
    simp only [dot, sumTo] at h4 ⊢
    exact h4

/-- A matrix makes no vector longer than the root of `a b` times, where `a` bounds the sums of the
absolute entries of its rows, and `b` those of its columns. -/
theorem operator_norm_le (n m : Nat) (W : Nat → Nat → α) (v : Nat → α) (a b : α) (ha0 : 0 ≤ a)
    (hrow : ∀ q, q < m → sumTo n (fun k => abs (W q k)) ≤ a)
    (hcolumn : ∀ k, k < n → sumTo m (fun q => abs (W q k)) ≤ b) :
    sumTo m (fun q => dot n (W q) v * dot n (W q) v) ≤ a * b * dot n v v := by
  have h1 : sumTo m (fun q => dot n (W q) v * dot n (W q) v) ≤
      sumTo m (fun q => a * sumTo n (fun k => abs (W q k) * (v k * v k))) :=
    sumTo_le (fun q hq => by
      have e1 := dot_mul_self_le_weighted n (W q) v
      have e2 : 0 ≤ sumTo n (fun k => abs (W q k) * (v k * v k)) :=
        sumTo_nonneg (fun k _ => mul_nonneg (abs_nonneg (W q k)) (mul_self_nonneg (v k)))
      have e3 := mul_nonneg (a := a - sumTo n (fun k => abs (W q k)))
        (by have := hrow q hq; grind) e2
      grind)
  rw [sumTo_mul_left, sumTo_comm] at h1
  have h2 : sumTo n (fun k => sumTo m (fun q => abs (W q k) * (v k * v k))) ≤
      sumTo n (fun k => b * (v k * v k)) :=
    sumTo_le (fun k hk => by
      have e1 : sumTo m (fun q => abs (W q k) * (v k * v k)) =
          v k * v k * sumTo m (fun q => abs (W q k)) := by
        rw [← sumTo_mul_left]
        exact sumTo_congr (fun q _ => by grind)
      have e2 := mul_nonneg (mul_self_nonneg (v k)) (b := b - sumTo m (fun q => abs (W q k)))
        (by have := hcolumn k hk; grind)
      rw [e1]
      grind)
  rw [sumTo_mul_left] at h2
  have h3 := mul_nonneg ha0 (b := b * sumTo n (fun k => v k * v k) -
    sumTo n (fun k => sumTo m (fun q => abs (W q k) * (v k * v k)))) (by grind)
  unfold dot at h1 ⊢
  grind

end CertVQ
