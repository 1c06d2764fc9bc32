import CertVQ.Activations

/-!
# Lipschitz constants of activations with an exponential

In: a function `exp` of which it is assumed that it takes sums to products, lies above its tangent
at 0, and (for sigmoid and tanh) that tanh x is at most x for x above 0. Out: how far apart the
values of sigmoid, tanh, ELU and SiLU are at most. Imports `CertVQ.Activations`.
-/

namespace CertVQ

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α] {exp : α → α}

theorem exp_zero (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x) :
    exp 0 = 1 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h1 := hadd 0 0
  have h2 := htangent 0
  have h3 : (0 : α) + 0 = 0 := by grind
  rw [h3] at h1
  by_cases h : exp 0 = 1
  · exact h
  · have := mul_pos (a := exp 0) (b := exp 0 - 1) (by grind) (by grind)
    grind

theorem exp_mul_exp_neg (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (x : α) : exp x * exp (-x) = 1 := by
  have h1 : x + -x = 0 := by grind
  rw [← hadd, h1, exp_zero hadd htangent]

theorem exp_pos (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    (x : α) : 0 < exp x := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h1 := div_mul_cancel (a := x) (c := 2) (by grind)
  have h2 : x / 2 + x / 2 = x := by grind
  have h3 := mul_self_nonneg (exp (x / 2))
  rw [← hadd, h2] at h3
  have h4 := exp_mul_exp_neg hadd htangent x
  by_cases h : exp x = 0
  · rw [h] at h4; grind
  · grind

/-- For `x ≤ y` the exponential grows, by at most `(y - x) exp y`. -/
theorem exp_between (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    {x y : α} (hle : x ≤ y) : exp x ≤ exp y ∧ exp y - exp x ≤ (y - x) * exp y := by
  have h1 := hadd x (y - x)
  have h2 := hadd y (x - y)
  have h3 : x + (y - x) = y := by grind
  have h4 : y + (x - y) = x := by grind
  rw [h3] at h1
  rw [h4] at h2
  have h5 := mul_nonneg (a := exp x) (b := exp (y - x) - 1)
    (by have := exp_pos hadd htangent x; grind) (by have := htangent (y - x); grind)
  have h6 := mul_nonneg (a := exp y) (b := exp (x - y) - (1 + (x - y)))
    (by have := exp_pos hadd htangent y; grind) (by have := htangent (x - y); grind)
  constructor <;> grind

/-- The sigmoid: `1 / (1 + exp(-x))`. -/
def sigmoid (exp : α → α) (x : α) : α := 1 / (1 + exp (-x))

/-- The hyperbolic tangent: `(exp(2 x) - 1) / (exp(2 x) + 1)`. -/
def tanh (exp : α → α) (x : α) : α := (exp (2 * x) - 1) / (exp (2 * x) + 1)

theorem sigmoid_mul (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    (x : α) : sigmoid exp x * (1 + exp (-x)) = 1 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have := exp_pos hadd htangent (-x)
  exact div_mul_cancel (by grind)

/-- What holds of `u = 1 / (1 + b)` and `v = 1 / (1 + c)`. -/
theorem inverses_apart {u v b c : α} (hu : u * (1 + b) = 1) (hv : v * (1 + c) = 1) (hb : 0 < b)
    (hc : 0 < c) : u - v = u * v * (c - b) ∧ u * v * ((1 + b) * (1 + c)) = 1 ∧ 0 < u ∧ 0 < v ∧
      u ≤ 1 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hpos : ∀ a d : α, 0 < d → a * d = 1 → 0 < a := fun a d hd h => by
    by_cases ha : 0 < a
    · exact ha
    · have := mul_nonneg (a := -a) (b := d) (by grind) (by grind)
      grind
  have h1 := hpos u (1 + b) (by grind) hu
  have h2 := hpos v (1 + c) (by grind) hv
  have h3 := mul_nonneg (a := u) (b := b) (by grind) (by grind)
  refine ⟨?_, ?_, h1, h2, by grind⟩
  · have e1 : u * v * (c - b) = u * (v * (1 + c)) - v * (u * (1 + b)) := by grind
    rw [e1, hu, hv]; grind
  · have e1 : u * v * ((1 + b) * (1 + c)) = (u * (1 + b)) * (v * (1 + c)) := by grind
    rw [e1, hu, hv]; grind

/-- The same with `c = b r r`, where `r - 1 ≤ k (r + 1)`. -/
theorem secant_le {u v b r k : α} (hu : u * (1 + b) = 1) (hv : v * (1 + b * r * r) = 1)
    (hb : 0 < b) (hr : 1 ≤ r) (hk : r - 1 ≤ k * (r + 1)) : 0 ≤ u - v ∧ u - v ≤ k := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hrr := mul_pos (a := r) (b := r) (by grind) (by grind)
  have hc : 0 < b * r * r := by have := mul_pos hb hrr; grind
  have h1 := inverses_apart hu hv hb hc
  have huv := mul_pos h1.2.2.1 h1.2.2.2.1
  have h2 := mul_nonneg (a := u * v) (b := (b * r - 1) * (b * r - 1)) (by grind)
    (mul_self_nonneg _)
  have h3 : u * v * (b * ((r + 1) * (r + 1))) ≤ 1 := by
    have := h1.2.1
    grind
  have h4 := mul_nonneg (a := 1 - u * v * (b * ((r + 1) * (r + 1)))) (b := r - 1) (by grind)
    (by grind)
  have h5 : (u - v) * (r + 1) = u * v * (b * ((r + 1) * (r + 1))) * (r - 1) := by
    rw [h1.1]; grind
  have h6 : 0 ≤ u * v * (b * r * r - b) := mul_nonneg (by grind) (by
    have := mul_nonneg (mul_nonneg (a := b) (b := r - 1) (by grind) (by grind)) (b := r + 1)
      (by grind)
    grind)
  refine ⟨by rw [h1.1]; exact h6, ?_⟩
  by_cases h : u - v ≤ k
  · exact h
  · have := mul_pos (a := u - v - k) (b := r + 1) (by grind) (by grind)
    grind

/-- The sigmoid is 1/4-Lipschitz. -/
theorem sigmoid_lipschitz (exp : α → α) (s t : α) (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x)
    (htanh : ∀ x, 0 ≤ x → exp (2 * x) - 1 ≤ x * (exp (2 * x) + 1)) :
    4 * abs (sigmoid exp t - sigmoid exp s) ≤ abs (t - s) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hfour := div_mul_cancel (a := (1 : α)) (c := 4) (by grind)
  have h := lipschitz_of_le (f := sigmoid exp) (L := 1 / 4) (fun x y hle => by
    have h1 : 0 ≤ 1 / 4 * (y - x) := mul_nonneg (div_nonneg (by grind) (by grind)) (by grind)
    have h2 : 4 * (1 / 4 * (y - x)) = y - x := by
      have : 4 * (1 / 4 * (y - x)) = 1 / 4 * 4 * (y - x) := by grind
      rw [this, hfour]; grind
    have h3 := htanh (1 / 4 * (y - x)) h1
    have h4 := htangent (2 * (1 / 4 * (y - x)))
    generalize 1 / 4 * (y - x) = k at *
    have h5 : exp (-x) = exp (-y) * exp (2 * k) * exp (2 * k) := by
      rw [← hadd, ← hadd]
      have : -x = -y + 2 * k + 2 * k := by grind
      rw [← this]
    have h6 := sigmoid_mul hadd htangent x
    rw [h5] at h6
    have h7 := secant_le (sigmoid_mul hadd htangent y) h6 (exp_pos hadd htangent (-y))
      (by grind) h3
    constructor <;> grind) s t
  have h8 : 4 * (1 / 4 * abs (t - s)) = abs (t - s) := by
    have : 4 * (1 / 4 * abs (t - s)) = 1 / 4 * 4 * abs (t - s) := by grind
    rw [this, hfour]; grind
  grind

theorem tanh_eq_sigmoid (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (x : α) : tanh exp x = 2 * sigmoid exp (2 * x) - 1 := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h1 := exp_pos hadd htangent (2 * x)
  have h2 := exp_mul_exp_neg hadd htangent (2 * x)
  have h3 := sigmoid_mul hadd htangent (2 * x)
  have h4 : tanh exp x * (exp (2 * x) + 1) = exp (2 * x) - 1 := div_mul_cancel (by grind)
  have h5 : sigmoid exp (2 * x) * (exp (2 * x) + 1) = exp (2 * x) := by
    have e1 : sigmoid exp (2 * x) * (1 + exp (-(2 * x))) * exp (2 * x) =
        sigmoid exp (2 * x) * exp (2 * x)
          + exp (2 * x) * exp (-(2 * x)) * sigmoid exp (2 * x) := by grind
    rw [h3, h2] at e1; grind
  have h6 : (exp (2 * x) + 1) * tanh exp x =
      (exp (2 * x) + 1) * (2 * sigmoid exp (2 * x) - 1) := by grind
  exact Std.le_antisymm (le_of_mul_le_mul (c := exp (2 * x) + 1) (by grind) (by grind))
    (le_of_mul_le_mul (c := exp (2 * x) + 1) (by grind) (by grind))

/-- The hyperbolic tangent is 1-Lipschitz. -/
theorem tanh_lipschitz (exp : α → α) (s t : α) (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x)
    (htanh : ∀ x, 0 ≤ x → exp (2 * x) - 1 ≤ x * (exp (2 * x) + 1)) :
    abs (tanh exp t - tanh exp s) ≤ abs (t - s) := by
  have h1 := sigmoid_lipschitz exp (2 * s) (2 * t) hadd htangent htanh
  have h2 := le_abs (sigmoid exp (2 * t) - sigmoid exp (2 * s))
  have h3 := neg_le_abs (sigmoid exp (2 * t) - sigmoid exp (2 * s))
  have h4 : abs (2 * t - 2 * s) ≤ 2 * abs (t - s) := by
    have h5 := le_abs (t - s)
    have h6 := neg_le_abs (t - s)
    exact abs_le (by grind) (by grind)
  rw [tanh_eq_sigmoid hadd htangent, tanh_eq_sigmoid hadd htangent]
  exact abs_le (by grind) (by grind)

open Classical in
/-- The exponential linear unit, with the factor `a` below 0. -/
noncomputable def elu (exp : α → α) (a x : α) : α := if 0 ≤ x then x else a * (exp x - 1)

/-- ELU is `L`-Lipschitz, where `L` is at least 1 and at least its factor below 0. -/
theorem elu_lipschitz (exp : α → α) (a L s t : α) (hadd : ∀ x y, exp (x + y) = exp x * exp y)
    (htangent : ∀ x, 1 + x ≤ exp x) (hone : 1 ≤ L) (hslope : -L ≤ a ∧ a ≤ L) :
    abs (elu exp a t - elu exp a s) ≤ L * abs (t - s) := by
  have hzero := exp_zero hadd htangent
  have hscaled : ∀ b c : α, 0 ≤ b → b ≤ c → -(L * c) ≤ a * b ∧ a * b ≤ L * c :=
    fun b c hb hc => by
      have h1 := mul_nonneg (a := L - a) (b := b) (by grind) hb
      have h2 := mul_nonneg (a := L + a) (b := b) (by grind) hb
      have h3 := mul_nonneg (a := L) (b := c - b) (by grind) (by grind)
      constructor <;> grind
  have hstart : ∀ x, x ≤ 0 → 0 ≤ 1 - exp x ∧ 1 - exp x ≤ -x := fun x hx => by
    have h1 := exp_between hadd htangent hx
    have h2 := htangent x
    rw [hzero] at h1
    constructor <;> grind
  refine lipschitz_of_le (fun x y hle => ?_) s t
  unfold elu
  by_cases hx : 0 ≤ x
  · rw [if_pos hx, if_pos (by grind)]
    have h1 := mul_nonneg (a := L - 1) (b := y - x) (by grind) (by grind)
    constructor <;> grind
  · rw [if_neg hx]
    have h1 := hstart x (by grind)
    by_cases hy : 0 ≤ y
    · rw [if_pos hy]
      have h2 := mul_nonneg (a := L - 1) (b := y) (by grind) hy
      have h3 := hscaled (1 - exp x) (-x) h1.1 h1.2
      constructor <;> grind
    · rw [if_neg hy]
      have h2 := exp_between hadd htangent hle
      have h3 := (hstart y (by grind)).1
      have h4 := mul_nonneg (a := y - x) (b := 1 - exp y) (by grind) h3
      have h5 := hscaled (exp y - exp x) (y - x) (by grind) (by grind)
      constructor <;> grind

end CertVQ
