import CertVQ.Silu
import CertVQ.Sum

/-!
# Slopes of SiLU, of gates, and of softmax

In: an exponential that takes sums to products, lies above its tangent at 0, and is at least 11 at
12/5; values of a sigmoid and of a tanh; weights. Out: bounds of what calculus makes of the slopes.
Imports
`CertVQ.Silu` and `CertVQ.Sum`.
-/

namespace CertVQ

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α] {exp : α → α}

/-- The slope of SiLU is at most 11/10. -/
theorem silu_slope_le (exp : α → α) (t : α) (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (heleven : 11 ≤ exp (12 / 5)) :
    10 * (sigmoid exp t + t * (sigmoid exp t * (1 - sigmoid exp t))) ≤ 11 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hp := div_mul_cancel (a := (12 : α)) (c := 5) (by grind)
  generalize (12 : α) / 5 = p at *
  have h1 := hadd p (t - p)
  have hsplit : p + (t - p) = t := by grind
  rw [hsplit] at h1
  have h2 := htangent (t - p)
  have h3 := exp_pos hadd htangent (t - p)
  have h4 := mul_nonneg (a := exp p - 11) (b := exp (t - p)) (by grind) (by grind)
  have h5 : 55 * t ≤ 5 * exp t + 77 := by grind
  have h6 := exp_mul_exp_neg hadd htangent t
  have h7 := exp_pos hadd htangent t
  have h8 := exp_pos hadd htangent (-t)
  have h9 := sigmoid_mul hadd htangent t
  have hu := (inverses_apart h9 h9 h8 h8).2.2.1
  generalize exp t = e at *
  generalize exp (-t) = q at *
  generalize sigmoid exp t = u at *
  have h10 := mul_nonneg (a := e) (b := (11 * q - 1) * (11 * q - 1)) (by grind)
    (mul_self_nonneg _)
  have h11 : e * ((11 * q - 1) * (11 * q - 1)) = 121 * (e * q) * q - 22 * (e * q) + e := by grind
  rw [h6] at h11
  have h12 : 10 * t ≤ 11 * q + 12 + e := by grind
  have hub : u * q = 1 - u := by grind
  have hm := mul_nonneg (a := u) (b := 1 - u) (by grind) (by
    have := mul_nonneg (a := u) (b := q) (by grind) (by grind)
    grind)
  have h13 := mul_nonneg (a := 11 * q + 12 + e - 10 * t) (b := u * (1 - u)) (by grind) hm
  have h14 : u * (1 - u) * q = (1 - u) * (1 - u) := by
    have e1 : u * (1 - u) * q = (1 - u) * (u * q) := by grind
    rw [e1, hub]
  have h15 : u * (1 - u) * e = u * u := by
    have e1 : u * (u * q) * e = u * u * (e * q) := by grind
    rw [hub, h6] at e1; grind
  grind

theorem cubic_le {a : α} (hlow : -1 ≤ a) : 5 * (a - a * a * a) ≤ 2 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h := mul_nonneg (a := (50 * a - 29) * (50 * a - 29)) (b := 50 * a + 58)
    (mul_self_nonneg _) (by grind)
  grind

/-- Slopes and curvatures of the sigmoid and of tanh, by their values. -/
theorem gate_slopes_le (u b : α) (hu0 : 0 ≤ u) (hu1 : u ≤ 1) (hb : -1 ≤ b ∧ b ≤ 1) :
    4 * (u * (1 - u)) ≤ 1 ∧ (-1 ≤ 10 * (u * (1 - u) * (1 - 2 * u)) ∧
      10 * (u * (1 - u) * (1 - 2 * u)) ≤ 1) ∧ (0 ≤ 1 - b * b ∧ 1 - b * b ≤ 1) ∧
      -4 ≤ 5 * (2 * b * (1 - b * b)) ∧ 5 * (2 * b * (1 - b * b)) ≤ 4 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h1 := mul_self_nonneg (1 - 2 * u)
  have h2 := cubic_le (a := 1 - 2 * u) (by grind)
  have h3 := cubic_le (a := -(1 - 2 * u)) (by grind)
  have h4 := cubic_le (a := b) (by grind)
  have h5 := cubic_le (a := -b) (by grind)
  have h6 := mul_self_nonneg b
  have h7 := mul_nonneg (a := 1 - b) (b := 1 + b) (by grind) (by grind)
  refine ⟨by grind, ⟨by grind, by grind⟩, ⟨by grind, by grind⟩, by grind, by grind⟩

/-- The slope of softmax is at most its greatest weight. -/
theorem softmax_slope_le (n : Nat) (x y : Nat → α) (a : α) (hweights : ∀ k, k < n → x k ≤ a) :
    sumTo n (fun k => x k * (y k * y k)) - dot n x y * dot n x y ≤ a * dot n y y := by
  have h1 : sumTo n (fun k => x k * (y k * y k)) ≤ sumTo n (fun k => a * (y k * y k)) :=
    sumTo_le (fun k hk => by
      have := mul_nonneg (a := a - x k) (b := y k * y k) (by have := hweights k hk; grind)
        (mul_self_nonneg _)
      grind)
  rw [sumTo_mul_left] at h1
  have h2 := mul_self_nonneg (dot n x y)
  unfold dot at *
  grind

end CertVQ
