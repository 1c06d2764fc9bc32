import CertVQ.Distance

/-!
# The inequality of Cauchy and Schwarz, without roots

In: vectors of any dimension, and upper bounds of their norms given as scalars. Out: bounds of dot
products, and what is lost when both factors of one are replaced by rounded ones. Imports
`CertVQ.Distance`.
-/

namespace CertVQ

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem cauchySchwarz_step {S X Y : α} (a b : α) (hX : 0 ≤ X) (hY : 0 ≤ Y) (h : S * S ≤ X * Y) :
    (S + a * b) * (S + a * b) ≤ (X + a * a) * (Y + b * b) := by
  have hv : 0 ≤ X * (b * b) + Y * (a * a) := by
    have h1 := mul_nonneg hX (mul_self_nonneg b)
    have h2 := mul_nonneg hY (mul_self_nonneg a)
    grind
  have hsq : (2 * (S * (a * b))) * (2 * (S * (a * b))) ≤
      (X * (b * b) + Y * (a * a)) * (X * (b * b) + Y * (a * a)) := by
    have h1 := mul_nonneg (a := X * Y - S * S) (by grind) (mul_self_nonneg (a * b))
    have h2 := mul_self_nonneg (X * (b * b) - Y * (a * a))
    grind
  have := le_of_mul_self_le hv hsq
  grind

/-- The square of a dot product is at most the product of the squared norms. -/
theorem dot_mul_self_le (n : Nat) (x y : Nat → α) :
    dot n x y * dot n x y ≤ dot n x x * dot n y y := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih =>
    exact cauchySchwarz_step (x n) (y n) (dot_self_nonneg n x) (dot_self_nonneg n y) ih

/-- A dot product is at most the product of upper bounds of the norms. -/
theorem abs_dot_le {n : Nat} {x y : Nat → α} {A B : α} (hA : 0 ≤ A) (hB : 0 ≤ B)
    (hx : dot n x x ≤ A * A) (hy : dot n y y ≤ B * B) : abs (dot n x y) ≤ A * B := by
  have hAB := mul_nonneg hA hB
  have h1 := dot_mul_self_le n x y
  have h2 := mul_le_mul hx hy (dot_self_nonneg n y) (mul_self_nonneg A)
  have h3 : dot n x y * dot n x y ≤ (A * B) * (A * B) := by grind
  have h4 : (-dot n x y) * (-dot n x y) ≤ (A * B) * (A * B) := by grind
  exact abs_le (le_of_mul_self_le hAB h3) (le_of_mul_self_le hAB h4)

/-- If `z = zh + zr` and `c = ch + cr`, the dot product of the rounded parts `zh` and `ch` differs
from that of `z` and `c` by at most `|zh| |cr| + |zr| |c|`, whatever upper bounds of these norms are
given. -/
theorem abs_dot_sub_split_le (n : Nat) (z zh zr c ch cr : Nat → α)
    (normZh normZr normC normCr : α)
    (hz : ∀ k, k < n → z k = zh k + zr k)
    (hc : ∀ k, k < n → c k = ch k + cr k)
    (hzh0 : 0 ≤ normZh) (hzr0 : 0 ≤ normZr) (hc0 : 0 ≤ normC) (hcr0 : 0 ≤ normCr)
    (hzh : dot n zh zh ≤ normZh * normZh) (hzr : dot n zr zr ≤ normZr * normZr)
    (hnc : dot n c c ≤ normC * normC) (hcr : dot n cr cr ≤ normCr * normCr) :
    abs (dot n z c - dot n zh ch) ≤ normZh * normCr + normZr * normC := by
  have h1 := abs_dot_le hzh0 hcr0 hzh hcr
  have h2 := abs_dot_le hzr0 hc0 hzr hnc
  have h3 : dot n z c = dot n zh ch + (dot n zh cr + dot n zr c) := by
    have : ∀ k, k < n → z k * c k = zh k * ch k + (zh k * cr k + zr k * c k) := fun k hk => by
      rw [hz k hk, hc k hk]; grind
    unfold dot
    rw [sumTo_congr this, sumTo_add, sumTo_add]
  have h4 := abs_add_le (dot n zh cr) (dot n zr c)
  have h5 : dot n z c - dot n zh ch = dot n zh cr + dot n zr c := by grind
  rw [h5]
  grind

end OrderedRing

end CertVQ
