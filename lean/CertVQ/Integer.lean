import CertVQ.Sum

/-!
# Dot products of 8-bit integers in a 32-bit accumulator

In: two vectors of integers of at most 8 bits with sign. Out: no partial sum of their dot product
overflows. Imports `CertVQ.Sum`.
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

end CertVQ
