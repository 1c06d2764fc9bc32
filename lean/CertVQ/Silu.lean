import CertVQ.Exponential

/-!
# The Lipschitz constant of SiLU

In: an exponential that takes sums to products and lies above its tangent at 0. Out: its sigmoid is
a gate whose slope at `x`, times `x`, is at most 3/10, so that SiLU is 13/10-Lipschitz. Imports
`CertVQ.Exponential`.
-/

namespace CertVQ

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α] {exp : α → α}

theorem square_ge {a b c d : α} (hb : 0 ≤ b) (h : b ≤ a) (hcd : c ≤ b * b) (had : a * a = d) :
    c ≤ d := by
  have := mul_le_mul h h hb (by grind)
  grind

/-- The exponential lies above the line `10/3 x - 1`: its tangent at 32/25 does, where its value is
at least `1.08^16`, which the bounds come to by four squarings, each rounded down. -/
theorem ten_thirds_le_exp (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (x : α) (hx : 0 ≤ x) : 10 * x ≤ 3 * (exp x + 1) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hz := div_mul_cancel (a := (2 : α)) (c := 25) (by grind)
  generalize (2 : α) / 25 = z at hz
  have h1 := htangent z
  have h2 := hadd z z
  have h4 := hadd (z + z) (z + z)
  have h8 := hadd (z + z + (z + z)) (z + z + (z + z))
  have h16 := hadd (z + z + (z + z) + (z + z + (z + z))) (z + z + (z + z) + (z + z + (z + z)))
  have hp : 25 * (z + z + (z + z) + (z + z + (z + z)) +
      (z + z + (z + z) + (z + z + (z + z)))) = 32 := by grind
  generalize z + z + (z + z) + (z + z + (z + z)) + (z + z + (z + z) + (z + z + (z + z))) = p at *
  rw [h8, h4, h2] at h16
  have e1 : 27 ≤ 25 * exp z := by grind
  generalize exp z = e at *
  have e2 : 1166 ≤ 1000 * (e * e) := by
    have := mul_le_mul e1 e1 (by grind) (by grind)
    grind
  have e4 : 1359 ≤ 1000 * (e * e * (e * e)) := by
    have := mul_le_mul e2 e2 (by grind) (by grind)
    grind
  have e8 : 1846 ≤ 1000 * (e * e * (e * e) * (e * e * (e * e))) := by
    have := mul_le_mul e4 e4 (by grind) (by grind)
    grind
  have e16 : 3407 ≤ 1000 * exp p := by
    have := mul_le_mul e8 e8 (by grind) (by grind)
    grind
  have hsplit : p + (x - p) = x := by grind
  have h3 := hadd p (x - p)
  rw [hsplit] at h3
  have h5 := htangent (x - p)
  have h6 := exp_pos hadd htangent x
  have h7 := exp_pos hadd htangent p
  by_cases hrest : 0 ≤ 1 + (x - p)
  · have h9 := mul_nonneg (a := exp p) (b := exp (x - p) - (1 + (x - p))) (by grind) (by grind)
    have h10 := mul_nonneg (a := 1000 * exp p - 3407) (b := 1 + (x - p)) (by grind) hrest
    grind
  · grind

theorem sigmoid_odd (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    (x : α) : sigmoid exp (-x) = 1 - sigmoid exp x ∧ sigmoid exp x ≤ 1 := by
  have h1 := sigmoid_mul hadd htangent x
  have h2 := sigmoid_mul hadd htangent (-x)
  have h3 := exp_mul_exp_neg hadd htangent (-x)
  have h4 := exp_pos hadd htangent (-x)
  have h5 := exp_pos hadd htangent (- -x)
  have h6 := inverses_apart h1 h2 h4 h5
  have h7 : sigmoid exp (-x) * (1 + exp (-x)) = exp (-x) := by
    have e1 : sigmoid exp (-x) * (1 + exp (- -x)) * exp (-x) =
        sigmoid exp (-x) * exp (-x) + exp (-x) * exp (- -x) * sigmoid exp (-x) := by grind
    rw [h2, h3] at e1; grind
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  refine ⟨?_, h6.2.2.2.2⟩
  exact Std.le_antisymm (le_of_mul_le_mul (c := 1 + exp (-x)) (by grind) (by grind))
    (le_of_mul_le_mul (c := 1 + exp (-x)) (by grind) (by grind))

theorem sigmoid_grows (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    {x y : α} (hle : x ≤ y) : 0 ≤ sigmoid exp y - sigmoid exp x ∧
      sigmoid exp y - sigmoid exp x ≤ sigmoid exp x * exp (-x) * (y - x) := by
  have h1 := inverses_apart (sigmoid_mul hadd htangent y) (sigmoid_mul hadd htangent x)
    (exp_pos hadd htangent (-y)) (exp_pos hadd htangent (-x))
  have h2 := exp_between hadd htangent (x := -y) (y := -x) (by grind)
  have huv := mul_pos h1.2.2.1 h1.2.2.2.1
  have h3 := mul_nonneg (a := sigmoid exp y * sigmoid exp x) (b := exp (-x) - exp (-y))
    (by grind) (by grind)
  have h4 := mul_nonneg (mul_nonneg (a := 1 - sigmoid exp y) (b := sigmoid exp x)
    (by grind) (by grind)) (b := exp (-x) - exp (-y)) (by grind)
  have h5 := mul_nonneg (a := sigmoid exp x)
    (b := (y - x) * exp (-x) - (exp (-x) - exp (-y))) (by grind) (by grind)
  have h6 := h1.1
  constructor <;> grind

theorem sigmoid_flattens (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (x y : α) (hx : 0 ≤ x) (hle : x ≤ y) :
    10 * (x * (sigmoid exp y - sigmoid exp x)) ≤ 3 * (y - x) := by
  have h1 := sigmoid_grows hadd htangent hle
  have h2 := sigmoid_mul hadd htangent x
  have h3 := exp_mul_exp_neg hadd htangent x
  have h4 := ten_thirds_le_exp hadd htangent x hx
  have h5 := exp_pos hadd htangent (-x)
  have hv := (inverses_apart h2 h2 h5 h5).2.2.1
  have h6 : sigmoid exp x * exp (-x) * (exp x + 1) = 1 := by
    have e1 : sigmoid exp x * exp (-x) * (exp x + 1) =
        sigmoid exp x * (exp x * exp (-x)) + sigmoid exp x * exp (-x) := by grind
    rw [h3] at e1; grind
  have h7 := mul_pos hv h5
  generalize sigmoid exp x * exp (-x) = share at *
  have h8 := mul_nonneg (a := share) (b := 3 * (exp x + 1) - 10 * x) (by grind) (by grind)
  have h9 : 10 * (x * share) ≤ 3 := by grind
  have h10 := mul_nonneg (a := 3 - 10 * (x * share)) (b := y - x) (by grind) (by grind)
  have h11 := mul_nonneg hx (b := share * (y - x) - (sigmoid exp y - sigmoid exp x)) (by grind)
  grind

/-- SiLU is 13/10-Lipschitz. -/
theorem silu_lipschitz (exp : α → α) (s t : α) (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) :
    10 * abs (t * sigmoid exp t - s * sigmoid exp s) ≤ 13 * abs (t - s) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hc := div_mul_cancel (a := (3 : α)) (c := 10) (by grind)
  generalize (3 : α) / 10 = c at hc
  have h := gelu_lipschitz (sigmoid exp) c s t (sigmoid_odd hadd htangent)
    (fun x y hle => by have := (sigmoid_grows hadd htangent hle).1; grind)
    (fun x y hx hle => by
      have h1 := sigmoid_flattens hadd htangent x y hx hle
      refine le_of_mul_le_mul (c := 10) (by grind) ?_
      have h2 : 10 * (c * (y - x)) = c * 10 * (y - x) := by grind
      rw [h2, hc]
      exact h1)
  have h1 : 10 * ((1 + c) * abs (t - s)) = 10 * abs (t - s) + c * 10 * abs (t - s) := by grind
  rw [hc] at h1
  grind

end CertVQ
