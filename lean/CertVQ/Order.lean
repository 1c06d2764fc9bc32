/-!
# Facts about ordered rings and fields

In: any linearly ordered commutative ring, or field. Out: squares, absolute values, powers, and the
natural numbers as scalars. Nothing here speaks of codes. Imports nothing.
-/

namespace CertVQ

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- The natural number `n` as a scalar: 1 added up `n` times. -/
def count : Nat → α
  | 0 => 0
  | n + 1 => count n + 1

/-- The power `a ^ m`. -/
def power (a : α) : Nat → α
  | 0 => 1
  | m + 1 => power a m * a

theorem count_add (m n : Nat) : (count (m + n) : α) = count m + count n := by
  induction n with
  | zero => simp only [Nat.add_zero, count]; grind
  | succ n ih => simp only [count]; grind

theorem power_add (a : α) (m n : Nat) : power a (m + n) = power a m * power a n := by
  induction n with
  | zero => simp only [Nat.add_zero, power]; grind
  | succ n ih => simp only [power]; grind

end Ring

section AbsoluteValue

variable {α : Type} [Lean.Grind.CommRing α] [LE α]

open Classical in
/-- The absolute value. -/
noncomputable def abs (a : α) : α := if 0 ≤ a then a else -a

theorem abs_le {a b : α} (hle : a ≤ b) (hneg : -a ≤ b) : abs a ≤ b := by
  unfold abs; split <;> grind

end AbsoluteValue

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A product of scalars that are not negative is not negative. -/
theorem mul_nonneg {a b : α} (ha : 0 ≤ a) (hb : 0 ≤ b) : 0 ≤ a * b :=
  Lean.Grind.OrderedRing.mul_nonneg ha hb

/-- A product of positive scalars is positive. -/
theorem mul_pos {a b : α} (ha : 0 < a) (hb : 0 < b) : 0 < a * b := by
  have h := Lean.Grind.OrderedRing.mul_lt_mul_of_pos_left ha hb
  grind

/-- A square is not negative. -/
theorem mul_self_nonneg (a : α) : 0 ≤ a * a := by
  cases Std.le_total (a := (0 : α)) (b := a) with
  | inl h => exact mul_nonneg h h
  | inr h =>
    have h' : 0 ≤ -a := by grind
    have := mul_nonneg h' h'
    grind

/-- The order of squares is the order of the scalars, when the greater one is not negative. -/
theorem le_of_mul_self_le {u v : α} (hv : 0 ≤ v) (h : u * u ≤ v * v) : u ≤ v := by
  by_cases huv : u ≤ v
  · exact huv
  · have h1 : 0 < u - v := by grind
    have h2 : 0 < u + v := by grind
    have h3 := mul_pos h1 h2
    grind

/-- A product of two inequalities between scalars that are not negative. -/
theorem mul_le_mul {a b c d : α} (hab : a ≤ b) (hcd : c ≤ d) (hc : 0 ≤ c) (hb : 0 ≤ b) :
    a * c ≤ b * d := by
  have h1 : 0 ≤ (b - a) * c := mul_nonneg (by grind) hc
  have h2 : 0 ≤ b * (d - c) := mul_nonneg hb (by grind)
  grind

/-- A positive factor may be cancelled. -/
theorem le_of_mul_le_mul {a b c : α} (hc : 0 < c) (h : c * a ≤ c * b) : a ≤ b := by
  by_cases hab : a ≤ b
  · exact hab
  · have := mul_pos hc (b := a - b) (by grind)
    grind

theorem inverse_pos {i s : α} (hs : 0 < s) (hi : i * s = 1) : 0 < i := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  by_cases h : 0 < i
  · exact h
  · have := mul_nonneg (a := -i) (b := s) (by grind) (by grind)
    grind

theorem count_nonneg (n : Nat) : (0 : α) ≤ count n := by
  induction n with
  | zero => simp only [count]; grind
  | succ n ih =>
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    simp only [count]; grind

theorem count_pos {n : Nat} (hn : 0 < n) : (0 : α) < count n := by
  cases n with
  | zero => omega
  | succ n =>
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    have := count_nonneg (α := α) n
    simp only [count]; grind

theorem one_le_power {u : α} (hu : 0 ≤ u) (m : Nat) : 1 ≤ power (1 + u) m := by
  induction m with
  | zero => simp only [power]; grind
  | succ m ih =>
    have := mul_nonneg (a := power (1 + u) m) (b := u) (by grind) hu
    simp only [power]; grind

theorem le_abs (a : α) : a ≤ abs a := by
  unfold abs; split <;> grind

theorem neg_le_abs (a : α) : -a ≤ abs a := by
  unfold abs; split <;> grind

theorem abs_nonneg (a : α) : 0 ≤ abs a := by
  unfold abs; split <;> grind

/-- An error of relative size at most `u` moves a product by at most `u` times its size. -/
theorem abs_mul_le {a d u : α} (hlower : -u ≤ d) (hupper : d ≤ u) : abs (a * d) ≤ u * abs a := by
  have h1 := le_abs a
  have h2 := neg_le_abs a
  have h3 : 0 ≤ (abs a - a) * (u - d) := mul_nonneg (by grind) (by grind)
  have h4 : 0 ≤ (abs a + a) * (u + d) := mul_nonneg (by grind) (by grind)
  have h5 : 0 ≤ (abs a - a) * (u + d) := mul_nonneg (by grind) (by grind)
  have h6 : 0 ≤ (abs a + a) * (u - d) := mul_nonneg (by grind) (by grind)
  exact abs_le (by grind) (by grind)

theorem abs_add_le (a b : α) : abs (a + b) ≤ abs a + abs b := by
  have h1 := le_abs a
  have h2 := neg_le_abs a
  have h3 := le_abs b
  have h4 := neg_le_abs b
  exact abs_le (by grind) (by grind)

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- Dividing by a positive scalar and multiplying by it again changes nothing. -/
theorem div_mul_cancel {a c : α} (hc : 0 < c) : a / c * c = a := by
  have h : c ≠ 0 := by grind
  have := Lean.Grind.Field.mul_inv_cancel h
  rw [Lean.Grind.Field.div_eq_mul_inv]
  grind

/-- A quotient is not negative when its numerator is not and its denominator is positive. -/
theorem div_nonneg {a c : α} (ha : 0 ≤ a) (hc : 0 < c) : 0 ≤ a / c := by
  by_cases h : 0 ≤ a / c
  · exact h
  · have h1 := mul_pos (a := -(a / c)) (b := c) (by grind) hc
    have h2 := div_mul_cancel (a := a) hc
    grind

/-- Division by a positive scalar keeps the order and reflects it. -/
theorem div_le_div_iff {a b c : α} (hc : 0 < c) : a / c ≤ b / c ↔ a ≤ b := by
  have h1 := div_mul_cancel (a := a) hc
  have h2 := div_mul_cancel (a := b) hc
  constructor
  · intro h
    have := mul_nonneg (a := b / c - a / c) (b := c) (by grind) (by grind)
    grind
  · intro h
    by_cases h' : a / c ≤ b / c
    · exact h'
    · have := mul_pos (a := a / c - b / c) (b := c) (by grind) hc
      grind

/-- A scalar whose product with a positive one is at most `a` is at most the quotient. -/
theorem le_div {a b c : α} (hc : 0 < c) (h : b * c ≤ a) : b ≤ a / c := by
  have h1 := div_mul_cancel (a := a) hc
  by_cases h' : b ≤ a / c
  · exact h'
  · have := mul_pos (a := b - a / c) (b := c) (by grind) hc
    grind

end Field

end CertVQ
