import CertVQ.CauchySchwarz

/-!
# Dot products of narrow integers in a 32-bit accumulator

In: two vectors of integers of at most 8 bits with sign, or two vectors with upper bounds of their
norms. Out: no partial sum of their dot product overflows. Imports `CertVQ.CauchySchwarz`.
-/

namespace CertVQ

theorem mul_le_16384 {a b : Int} (ha : -128 ≤ a ∧ a ≤ 128) (hb : -128 ≤ b ∧ b ≤ 128) :
    -16384 ≤ a * b ∧ a * b ≤ 16384 := by
  have h1 := Int.mul_nonneg (a := 128 - a) (b := 128 - b) (by omega) (by omega)
  have h2 := Int.mul_nonneg (a := 128 + a) (b := 128 + b) (by omega) (by omega)
  have h3 := Int.mul_nonneg (a := 128 - a) (b := 128 + b) (by omega) (by omega)
  have h4 := Int.mul_nonneg (a := 128 + a) (b := 128 - b) (by omega) (by omega)
  constructor <;> grind

/-- With entries between -128 and 128 and at most 131071 of them, the sum over any subset of the
products fits a signed 32-bit integer: no order of summation, in any number of accumulators, can
overflow. -/
theorem int8_dot_exact (n : Nat) (x y : Nat → Int) (chosen : Nat → Bool) (hdim : n ≤ 131071)
    (hx : ∀ k, k < n → -128 ≤ x k ∧ x k ≤ 128) (hy : ∀ k, k < n → -128 ≤ y k ∧ y k ≤ 128) :
    -2147483648 ≤ sumTo n (fun k => if chosen k then x k * y k else 0) ∧
      sumTo n (fun k => if chosen k then x k * y k else 0) ≤ 2147483647 := by
  have h : ∀ m, m ≤ n → -(16384 * (m : Int)) ≤ sumTo m (fun k => if chosen k then x k * y k else 0)
      ∧ sumTo m (fun k => if chosen k then x k * y k else 0) ≤ 16384 * (m : Int) := by
    intro m
    induction m with
    | zero => intro _; simp [sumTo]
    | succ m ih =>
      intro hm
      have h1 := ih (by omega)
      have h2 := mul_le_16384 (hx m (by omega)) (hy m (by omega))
      simp only [sumTo]
      split <;> constructor <;> omega
  have h1 := h n (Nat.le_refl n)
  constructor <;> omega

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- A sum over chosen places is the dot product with a vector that is 0 elsewhere. -/
theorem sumTo_chosen_eq_dot (n : Nat) (x y : Nat → α) (chosen : Nat → Bool) :
    sumTo n (fun k => if chosen k then x k * y k else 0) =
      dot n (fun k => if chosen k then x k else 0) y :=
  sumTo_congr (fun k _ => by split <;> grind)

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- With 0 in some places a vector is not longer. -/
theorem dot_self_chosen_le (n : Nat) (x : Nat → α) (chosen : Nat → Bool) :
    dot n (fun k => if chosen k then x k else 0) (fun k => if chosen k then x k else 0) ≤
      dot n x x :=
  sumTo_le (fun k _ => by
    have := mul_self_nonneg (x k)
    dsimp only
    split <;> grind)

/-- An accumulator that starts at `start` and adds the products of any subset of the places stays
between `-M` and `M`, if `M` has room for the start and for the product of upper bounds of the two
norms. With `α := Int` and `M := 2147483647` no 32-bit accumulator overflows, in any order of
summation. -/
theorem int16_dot_exact (n : Nat) (z c : Nat → α) (chosen : Nat → Bool) (start normZ normC M : α)
    (hz0 : 0 ≤ normZ) (hc0 : 0 ≤ normC) (hz : dot n z z ≤ normZ * normZ)
    (hc : dot n c c ≤ normC * normC) (hroom : abs start + normZ * normC ≤ M) :
    abs (start + sumTo n (fun k => if chosen k then z k * c k else 0)) ≤ M := by
  have h1 := Std.le_trans (dot_self_chosen_le n z chosen) hz
  have h2 := abs_dot_le hz0 hc0 h1 hc
  have h3 := abs_add_le start (dot n (fun k => if chosen k then z k else 0) c)
  rw [sumTo_chosen_eq_dot]
  grind

/-- The same for the integers of a signed 32-bit accumulator. -/
theorem int16_dot_exact_int32 (n : Nat) (z c : Nat → Int) (chosen : Nat → Bool)
    (start normZ normC : Int) (hz0 : 0 ≤ normZ) (hc0 : 0 ≤ normC)
    (hz : dot n z z ≤ normZ * normZ) (hc : dot n c c ≤ normC * normC)
    (hroom : abs start + normZ * normC ≤ 2147483647) :
    -2147483648 ≤ start + sumTo n (fun k => if chosen k then z k * c k else 0) ∧
      start + sumTo n (fun k => if chosen k then z k * c k else 0) ≤ 2147483647 := by
  have h1 := int16_dot_exact n z c chosen start normZ normC 2147483647 hz0 hc0 hz hc hroom
  have h2 := le_abs (start + sumTo n (fun k => if chosen k then z k * c k else 0))
  have h3 := neg_le_abs (start + sumTo n (fun k => if chosen k then z k * c k else 0))
  constructor <;> omega

end OrderedRing

end CertVQ
