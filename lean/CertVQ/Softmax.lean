import CertVQ.Exponential
import CertVQ.Sum

/-!
# What errors of the logits can do to the weights of softmax

In: exact and computed logits, and an exponential of which the same is assumed as for tanh. Out: the
sum of the absolute errors of the weights. Imports `CertVQ.Exponential` and sums.
-/

namespace CertVQ

section Ring

variable {α : Type} [Lean.Grind.CommRing α] [LT α]

open Classical in
/-- The sum of the values where the share of the weight rises. -/
noncomputable def rising (n : Nat) (w wc : Nat → α) (i ic : α) (f : Nat → α) : α :=
  sumTo n (fun k => if w k * i < wc k * ic then f k else 0)

open Classical in
/-- The sum of the values where the share of the weight does not rise. -/
noncomputable def falling (n : Nat) (w wc : Nat → α) (i ic : α) (f : Nat → α) : α :=
  sumTo n (fun k => if w k * i < wc k * ic then 0 else f k)

theorem rising_add_falling (n : Nat) (w wc : Nat → α) (i ic : α) (f : Nat → α) :
    sumTo n f = rising n w wc i ic f + falling n w wc i ic f := by
  unfold rising falling
  rw [← sumTo_add]
  refine sumTo_congr (fun k _ => ?_)
  by_cases h : w k * i < wc k * ic
  · rw [if_pos h, if_pos h]; grind
  · rw [if_neg h, if_neg h]; grind

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem shares_split (n : Nat) (w wc : Nat → α) (i ic : α) :
    sumTo n (fun k => abs (wc k * ic - w k * i)) =
      rising n w wc i ic wc * ic - rising n w wc i ic w * i +
        (falling n w wc i ic w * i - falling n w wc i ic wc * ic) := by
  unfold rising falling
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih =>
    simp only [sumTo]
    rw [ih]
    by_cases h : w n * i < wc n * ic
    · have h1 : abs (wc n * ic - w n * i) = wc n * ic - w n * i := by
        unfold abs; rw [if_pos (by grind)]
      rw [if_pos h, if_pos h, if_pos h, if_pos h, h1]; grind
    · have h1 : abs (wc n * ic - w n * i) = w n * i - wc n * ic := by
        unfold abs; split <;> grind
      rw [if_neg h, if_neg h, if_neg h, if_neg h, h1]; grind

/-- The parts of the sums are not negative, and known up to the factor `q`. -/
theorem parts_le {n : Nat} {w wc : Nat → α} {i ic q : α}
    (hnear : ∀ k, k < n → 0 < w k ∧ 0 < wc k ∧ wc k ≤ q * w k ∧ w k ≤ q * wc k) :
    0 ≤ rising n w wc i ic w ∧ 0 ≤ rising n w wc i ic wc ∧ 0 ≤ falling n w wc i ic w ∧
      0 ≤ falling n w wc i ic wc ∧
      rising n w wc i ic wc ≤ q * rising n w wc i ic w ∧
      falling n w wc i ic w ≤ q * falling n w wc i ic wc := by
  unfold rising falling
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih =>
    have h1 := ih (fun k hk => hnear k (by omega))
    have h2 := hnear n (by omega)
    simp only [sumTo]
    by_cases h : w n * i < wc n * ic
    · rw [if_pos h, if_pos h, if_pos h, if_pos h]; grind
    · rw [if_neg h, if_neg h, if_neg h, if_neg h]; grind

theorem affine_nonneg {P Q s M : α} (h0 : 0 ≤ P) (hM : 0 ≤ P + Q * M) (hs : 0 ≤ s)
    (hle : s ≤ M) : 0 ≤ P + Q * s := by
  by_cases hQ : 0 ≤ Q
  · have := mul_nonneg hQ hs
    grind
  · have := mul_nonneg (a := -Q) (b := M - s) (by grind) (by grind)
    grind

/-- What is affine in `ac` and in `b` is not negative between its corners. -/
theorem share_core {a b ac bc q : α} (ha : 0 ≤ a) (hb : 0 ≤ b) (hac : 0 ≤ ac) (hbc : 0 ≤ bc)
    (hq : 1 ≤ q) (hup : ac ≤ q * a) (hdown : b ≤ q * bc) :
    (ac * b - a * bc) * (q + 1) ≤ (q - 1) * ((a + b) * (ac + bc)) := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h1 : 0 ≤ q * (q - 1) := mul_nonneg (by grind) (by grind)
  have h2 := mul_nonneg h1 (mul_self_nonneg a)
  have h3 := mul_nonneg (a := q) (b := a * bc) (by grind) (mul_nonneg ha hbc)
  have h4 := mul_nonneg h1 (mul_self_nonneg (a - bc))
  have h5 := mul_nonneg (a := q - 1) (b := b * bc) (by grind) (mul_nonneg hb hbc)
  have h6 : 0 ≤ (q * (q - 1) * (a * a) + 2 * (q * (a * bc))) + ((q - 1) * bc - 2 * (q * a)) * b :=
    affine_nonneg (M := q * bc) (by grind) (by grind) hb hdown
  have h7 : 0 ≤ ((q - 1) * (b * bc) + 2 * (q * (a * bc))) + ((q - 1) * a - 2 * b) * ac :=
    affine_nonneg (M := q * a) (by grind) (by grind) hac hup
  grind

/-- The shares `a / (a + b)` and `ac / (ac + bc)`. -/
theorem share_moves {a b ac bc q S Sc i ic : α} (ha : 0 ≤ a) (hb : 0 ≤ b) (hac : 0 ≤ ac)
    (hbc : 0 ≤ bc) (hq : 1 ≤ q) (hup : ac ≤ q * a) (hdown : b ≤ q * bc) (hS : S = a + b)
    (hSc : Sc = ac + bc) (hi : i * S = 1) (hic : ic * Sc = 1) (hi0 : 0 < i) (hic0 : 0 < ic) :
    (ac * ic - a * i + (b * i - bc * ic)) * (q + 1) ≤ 2 * (q - 1) := by
  have h1 := share_core ha hb hac hbc hq hup hdown
  have h2 := mul_pos hi0 hic0
  have h3 := mul_nonneg (a := i * ic)
    (b := (q - 1) * ((a + b) * (ac + bc)) - (ac * b - a * bc) * (q + 1)) (by grind) (by grind)
  have h4 : i * ic * ((a + b) * (ac + bc)) = 1 := by
    have : i * ic * ((a + b) * (ac + bc)) = (i * S) * (ic * Sc) := by rw [hS, hSc]; grind
    rw [this, hi, hic]; grind
  have h5 : ac * ic - a * i = i * ic * (ac * b - a * bc) := by
    have e1 : ac * ic - a * i = (i * S) * (ac * ic) - (ic * Sc) * (a * i) := by
      rw [hi, hic]; grind
    rw [e1, hS, hSc]; grind
  have h6 : b * i - bc * ic = i * ic * (ac * b - a * bc) := by
    have e1 : b * i - bc * ic = (ic * Sc) * (b * i) - (i * S) * (bc * ic) := by
      rw [hi, hic]; grind
    rw [e1, hS, hSc]; grind
  have h7 : i * ic * ((q - 1) * ((a + b) * (ac + bc)) - (ac * b - a * bc) * (q + 1)) =
      (q - 1) * (i * ic * ((a + b) * (ac + bc))) - i * ic * (ac * b - a * bc) * (q + 1) := by grind
  rw [h7, h4] at h3
  rw [h5, h6]
  grind

theorem sumTo_pos {n : Nat} {f : Nat → α} (hn : 0 < n) (h : ∀ k, k < n → 0 < f k) :
    0 < sumTo n f := by
  cases n with
  | zero => omega
  | succ n =>
    have h1 := sumTo_nonneg (n := n) (f := f) (fun k hk => by have := h k (by omega); grind)
    have h2 := h n (by omega)
    simp only [sumTo]; grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- If no logit errs by more than `e`, the absolute errors of the weights of softmax add up to at
most `e`. -/
theorem softmax_error_le (n : Nat) (exp : α → α) (x xc : Nat → α) (e : α)
    (hadd : ∀ x y, exp (x + y) = exp x * exp y) (htangent : ∀ x, 1 + x ≤ exp x)
    (htanh : ∀ x, 0 ≤ x → exp (2 * x) - 1 ≤ x * (exp (2 * x) + 1)) (he0 : 0 ≤ e)
    (hlogits : ∀ k, k < n → -e ≤ xc k - x k ∧ xc k - x k ≤ e) :
    sumTo n (fun k => abs (exp (xc k) / sumTo n (fun j => exp (xc j)) -
      exp (x k) / sumTo n (fun j => exp (x j)))) ≤ e := by
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  by_cases hn : 0 < n
  · have hpos : ∀ y, 0 < exp y := exp_pos hadd htangent
    have hnear : ∀ k, k < n → 0 < exp (x k) ∧ 0 < exp (xc k) ∧
        exp (xc k) ≤ exp e * exp (x k) ∧ exp (x k) ≤ exp e * exp (xc k) := fun k hk => by
      have h1 := hlogits k hk
      have h2 := (exp_between hadd htangent (x := xc k - x k) (y := e) (by grind)).1
      have h3 := (exp_between hadd htangent (x := x k - xc k) (y := e) (by grind)).1
      have h4 := hadd (x k) (xc k - x k)
      have h5 := hadd (xc k) (x k - xc k)
      have h6 : x k + (xc k - x k) = xc k := by grind
      have h7 : xc k + (x k - xc k) = x k := by grind
      rw [h6] at h4
      rw [h7] at h5
      have h8 := hpos (x k)
      have h9 := hpos (xc k)
      have h10 := mul_nonneg (a := exp (x k)) (b := exp e - exp (xc k - x k)) (by grind) (by grind)
      have h11 := mul_nonneg (a := exp (xc k)) (b := exp e - exp (x k - xc k)) (by grind) (by grind)
      grind
    have hS := sumTo_pos hn (fun k hk => (hnear k hk).1)
    have hSc := sumTo_pos hn (fun k hk => (hnear k hk).2.1)
    have hi : (sumTo n (fun j => exp (x j)))⁻¹ * sumTo n (fun j => exp (x j)) = 1 := by
      have := Lean.Grind.Field.mul_inv_cancel (a := sumTo n (fun j => exp (x j))) (by grind)
      grind
    have hic : (sumTo n (fun j => exp (xc j)))⁻¹ * sumTo n (fun j => exp (xc j)) = 1 := by
      have := Lean.Grind.Field.mul_inv_cancel (a := sumTo n (fun j => exp (xc j))) (by grind)
      grind
    simp only [Lean.Grind.Field.div_eq_mul_inv]
    have hsplit := shares_split n (fun k => exp (x k)) (fun k => exp (xc k))
      (sumTo n (fun j => exp (x j)))⁻¹ (sumTo n (fun j => exp (xc j)))⁻¹
    have hparts := parts_le (i := (sumTo n (fun j => exp (x j)))⁻¹)
      (ic := (sumTo n (fun j => exp (xc j)))⁻¹) hnear
    have hq : 1 ≤ exp e := by have := htangent e; grind
    have hmoves := share_moves hparts.1 hparts.2.2.1 hparts.2.1 hparts.2.2.2.1 hq
      hparts.2.2.2.2.1 hparts.2.2.2.2.2 (rising_add_falling n _ _ _ _ _)
      (rising_add_falling n _ _ _ _ _) hi hic
      (inverse_pos hS hi) (inverse_pos hSc hic)
    rw [← hsplit] at hmoves
    have htwo := div_mul_cancel (a := e) (c := 2) (by grind)
    have hhalf := htanh (e / 2) (div_nonneg he0 (by grind))
    have hdouble : 2 * (e / 2) = e := by grind
    rw [hdouble] at hhalf
    refine le_of_mul_le_mul (c := exp e + 1) (by grind) ?_
    have hlast : (exp e + 1) * e = 2 * (e / 2 * (exp e + 1)) := by
      have : 2 * (e / 2 * (exp e + 1)) = 2 * (e / 2) * (exp e + 1) := by grind
      rw [this, hdouble]; grind
    rw [hlast]
    grind
  · have h0 : n = 0 := by omega
    subst h0
    simp only [sumTo]
    exact he0

end Field

end CertVQ
