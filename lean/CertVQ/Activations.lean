import CertVQ.Order

/-!
# Lipschitz constants of activations without an exponential

In: two numbers, and what is assumed of a gate or of the sine. Out: how far apart the values of
ReLU, leaky ReLU, a gated number (GELU, SiLU) and Snake are at most. Imports `CertVQ.Order`.
-/

namespace CertVQ

section AbsoluteValue

variable {α : Type} [Lean.Grind.CommRing α] [LE α]

theorem abs_mul_abs_self (a : α) : abs a * abs a = a * a := by
  unfold abs; split <;> grind

end AbsoluteValue

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A function is Lipschitz if it is so for numbers in order. -/
theorem lipschitz_of_le {f : α → α} {L : α}
    (h : ∀ x y, x ≤ y → -(L * (y - x)) ≤ f y - f x ∧ f y - f x ≤ L * (y - x)) (s t : α) :
    abs (f t - f s) ≤ L * abs (t - s) := by
  cases Std.le_total (a := s) (b := t) with
  | inl hle =>
    have h1 := h s t hle
    have h2 : abs (t - s) = t - s := by unfold abs; rw [if_pos (by grind)]
    rw [h2]
    exact abs_le (by grind) (by grind)
  | inr hle =>
    have h1 := h t s hle
    have h2 : abs (t - s) = s - t := by unfold abs; split <;> grind
    rw [h2]
    exact abs_le (by grind) (by grind)

open Classical in
/-- The rectified linear unit. -/
noncomputable def relu (x : α) : α := if 0 ≤ x then x else 0

open Classical in
/-- The leaky rectified linear unit, with the slope `a` below 0. -/
noncomputable def leakyRelu (a x : α) : α := if 0 ≤ x then x else a * x

/-- Leaky ReLU is `L`-Lipschitz, where `L` is at least 1 and at least the slope below 0. -/
theorem leakyRelu_lipschitz (a L s t : α) (hone : 1 ≤ L) (hslope : -L ≤ a ∧ a ≤ L) :
    abs (leakyRelu a t - leakyRelu a s) ≤ L * abs (t - s) := by
  refine lipschitz_of_le (fun x y hle => ?_) s t
  have h1 := mul_nonneg (a := L - 1) (b := y - x) (by grind) (by grind)
  have h2 := mul_nonneg (a := L - a) (b := y - x) (by grind) (by grind)
  have h3 := mul_nonneg (a := L + a) (b := y - x) (by grind) (by grind)
  unfold leakyRelu
  by_cases hx : 0 ≤ x
  · rw [if_pos hx, if_pos (by grind)]
    constructor <;> grind
  · rw [if_neg hx]
    have h4 := mul_nonneg (a := L - a) (b := -x) (by grind) (by grind)
    have h5 := mul_nonneg (a := L + a) (b := -x) (by grind) (by grind)
    by_cases hy : 0 ≤ y
    · rw [if_pos hy]
      have h6 := mul_nonneg (a := L - 1) (b := y) (by grind) hy
      constructor <;> grind
    · rw [if_neg hy]
      constructor <;> grind

/-- ReLU is 1-Lipschitz. -/
theorem relu_lipschitz (s t : α) : abs (relu t - relu s) ≤ abs (t - s) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h := leakyRelu_lipschitz 0 1 s t (Std.le_refl _) (by constructor <;> grind)
  have h1 : ∀ x : α, leakyRelu 0 x = relu x := fun x => by
    unfold leakyRelu relu; split <;> grind
  rw [h1, h1] at h
  grind

theorem gated_rises {gate : α → α} {c : α} (hodd : ∀ x, gate (-x) = 1 - gate x ∧ gate x ≤ 1)
    (hgrows : ∀ x y, x ≤ y → gate x ≤ gate y)
    (hslope : ∀ x y, 0 ≤ x → x ≤ y → x * (gate y - gate x) ≤ c * (y - x)) (x y : α) (hx : 0 ≤ x)
    (hle : x ≤ y) :
    0 ≤ y * gate y - x * gate x ∧ y * gate y - x * gate x ≤ (1 + c) * (y - x) := by
  have h1 := hodd y
  have h2 := hodd (-y)
  have h3 := hgrows x y hle
  have h4 := hslope x y hx hle
  have h5 := mul_nonneg (a := gate y) (b := y - x) (by grind) (by grind)
  have h6 := mul_nonneg (a := x) (b := gate y - gate x) hx (by grind)
  have h7 := mul_nonneg (a := 1 - gate y) (b := y - x) (by grind) (by grind)
  constructor <;> grind

/-- A number times a gate is `(1 + c)`-Lipschitz, where `c` bounds `s` times the slope of the gate
at `s`. The gate of GELU is the distribution function of the normal distribution, that of SiLU the
sigmoid. -/
theorem gelu_lipschitz (gate : α → α) (c s t : α)
    (hodd : ∀ x, gate (-x) = 1 - gate x ∧ gate x ≤ 1)
    (hgrows : ∀ x y, x ≤ y → gate x ≤ gate y)
    (hslope : ∀ x y, 0 ≤ x → x ≤ y → x * (gate y - gate x) ≤ c * (y - x)) :
    abs (t * gate t - s * gate s) ≤ (1 + c) * abs (t - s) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have hc : 0 ≤ c := by
    have := hslope 0 1 (by grind) (by grind)
    grind
  refine lipschitz_of_le (f := fun x => x * gate x) (fun x y hle => ?_) s t
  have h1 := mul_nonneg hc (b := y - x) (by grind)
  by_cases hx : 0 ≤ x
  · have h2 := gated_rises hodd hgrows hslope x y hx hle
    constructor <;> grind
  · by_cases hy : 0 ≤ y
    · have h2 := gated_rises hodd hgrows hslope 0 y (by grind) hy
      have h3 := gated_rises hodd hgrows hslope 0 (-x) (by grind) (by grind)
      rw [(hodd x).1] at h3
      have h4 := mul_nonneg hc (b := y) hy
      have h5 := mul_nonneg hc (b := -x) (by grind)
      constructor <;> grind
    · have h2 := gated_rises hodd hgrows hslope (-y) (-x) (by grind) (by grind)
      rw [(hodd x).1, (hodd y).1] at h2
      constructor <;> grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- Snake: `x + sin(a x)^2 / a`. -/
def snake (sin : α → α) (a x : α) : α := x + sin (a * x) * sin (a * x) / a

/-- Snake is 2-Lipschitz. -/
theorem snake_lipschitz (sin : α → α) (a s t : α) (ha0 : a ≠ 0)
    (hproduct : ∀ x y, sin x * sin x - sin y * sin y = sin (x + y) * sin (x - y))
    (hone : ∀ x, abs (sin x) ≤ 1) (hself : ∀ x, abs (sin x) ≤ abs x) :
    abs (snake sin a t - snake sin a s) ≤ 2 * abs (t - s) := by
  have hi := Lean.Grind.Field.mul_inv_cancel ha0
  have h1 := hone (a * t + a * s)
  have h2 := hself (a * t - a * s)
  have h3 := mul_le_mul h1 h1 (abs_nonneg _) (by
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    grind)
  have h4 := mul_le_mul h2 h2 (abs_nonneg _) (abs_nonneg _)
  rw [abs_mul_abs_self] at h3
  rw [abs_mul_abs_self, abs_mul_abs_self] at h4
  have h5 := mul_le_mul h3 h4 (mul_self_nonneg (sin (a * t - a * s))) (by
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    grind)
  have h6 := hproduct (a * t) (a * s)
  have h7 : snake sin a t - snake sin a s =
      (t - s) + sin (a * t + a * s) * sin (a * t - a * s) * a⁻¹ := by
    unfold snake
    rw [Lean.Grind.Field.div_eq_mul_inv, Lean.Grind.Field.div_eq_mul_inv, ← h6]
    grind
  have h8 : (a * t - a * s) * a⁻¹ = t - s := by
    have : (a * t - a * s) * a⁻¹ = (t - s) * (a * a⁻¹) := by grind
    rw [this, hi]; grind
  have h9 := mul_le_mul h5 (Std.le_refl (a⁻¹ * a⁻¹)) (mul_self_nonneg _) (by
    have := mul_self_nonneg (a * t - a * s)
    grind)
  rw [h7]
  generalize sin (a * t + a * s) = p at *
  generalize sin (a * t - a * s) = m at *
  generalize a⁻¹ = i at *
  have h10 : (p * m * i) * (p * m * i) ≤ abs (t - s) * abs (t - s) := by
    rw [abs_mul_abs_self, ← h8]; grind
  have h11 := le_of_mul_self_le (abs_nonneg (t - s)) h10
  have h12 := le_of_mul_self_le (u := -(p * m * i)) (abs_nonneg (t - s)) (by grind)
  have h13 := abs_add_le (t - s) (p * m * i)
  have h14 := abs_le h11 h12
  grind

end Field

end CertVQ
