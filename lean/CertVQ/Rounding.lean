import CertVQ.Sum

/-!
# The rounding error of a dot product, in any order of summation

In: a tree that says in which order the products are added, and the axioms of the arithmetic: each
operation returns `exact * (1 + d) + e` with `-u ≤ d ≤ u` and `-w ≤ e ≤ w`, where `e` is underflow
and additions have none. Out: how far the computed value is from the exact one. Imports
`CertVQ.Sum`.
-/

namespace CertVQ

/-- An order of summation: a leaf is the product at place `k`, a node an addition. -/
inductive SumTree where
  /-- The product of the entries at place `k`. -/
  | leaf (k : Nat)
  /-- The sum of two partial sums. -/
  | node (l r : SumTree)

/-- The number of products in a tree. -/
def SumTree.leaves : SumTree → Nat
  | leaf _ => 1
  | node l r => l.leaves + r.leaves

/-- How often place `j` occurs in a tree. -/
def SumTree.occurrences (j : Nat) : SumTree → Nat
  | leaf k => if k = j then 1 else 0
  | node l r => l.occurrences j + r.occurrences j

/-- The exact sum of `f k` over the leaves of a tree. -/
def SumTree.sum {α : Type} [Add α] (f : Nat → α) : SumTree → α
  | leaf k => f k
  | node l r => l.sum f + r.sum f

section Definitions

variable {α : Type} [Lean.Grind.CommRing α] [LE α]

/-- `Computes u w x y t v`: the value `v` can come out when the dot product of `x` and `y` is
computed in the order of `t`, with unit roundoff `u` and underflow at most `w`. A product and a
following sum may be fused and rounded once. -/
inductive Computes (u w : α) (x y : Nat → α) : SumTree → α → Prop
  /-- A product is rounded, and may underflow. -/
  | leaf (k : Nat) (d e : α) (hdlower : -u ≤ d) (hdupper : d ≤ u) (helower : -w ≤ e)
      (heupper : e ≤ w) : Computes u w x y (SumTree.leaf k) (x k * y k * (1 + d) + e)
  /-- A sum is rounded. -/
  | node (l r : SumTree) (a b d : α) (hl : Computes u w x y l a) (hr : Computes u w x y r b)
      (hdlower : -u ≤ d) (hdupper : d ≤ u) :
      Computes u w x y (SumTree.node l r) ((a + b) * (1 + d))
  /-- A fused multiply-add is rounded once, and may underflow. -/
  | fused (l : SumTree) (k : Nat) (a d e : α) (hl : Computes u w x y l a) (hdlower : -u ≤ d)
      (hdupper : d ≤ u) (helower : -w ≤ e) (heupper : e ≤ w) :
      Computes u w x y (SumTree.node l (SumTree.leaf k)) ((a + x k * y k) * (1 + d) + e)

end Definitions

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

theorem sumTree_sum_weighted (f : Nat → α) (n : Nat) (t : SumTree)
    (h : ∀ k, n ≤ k → t.occurrences k = 0) :
    t.sum f = sumTo n (fun k => count (t.occurrences k) * f k) := by
  induction t with
  | leaf j =>
    have hj : j < n := by
      by_cases hjn : j < n
      · exact hjn
      · have := h j (by omega)
        simp [SumTree.occurrences] at this
    have h1 := sumTo_single n j f hj
    have h2 : ∀ k, k < n →
        count ((SumTree.leaf j).occurrences k) * f k = if j = k then f k else 0 := fun k _ => by
      simp only [SumTree.occurrences]
      split <;> simp only [count] <;> grind
    rw [sumTo_congr h2, h1]; rfl
  | node l r ihl ihr =>
    have hl := ihl (fun k hk => by have := h k hk; simp only [SumTree.occurrences] at this; omega)
    have hr := ihr (fun k hk => by have := h k hk; simp only [SumTree.occurrences] at this; omega)
    have h2 : ∀ k, k < n → count ((SumTree.node l r).occurrences k) * f k =
        count (l.occurrences k) * f k + count (r.occurrences k) * f k := fun k _ => by
      simp only [SumTree.occurrences]
      rw [count_add]; grind
    rw [sumTo_congr h2, sumTo_add, ← hl, ← hr]; rfl

/-- A tree in which each of the places below `n` occurs once sums them all. -/
theorem sumTree_sum_eq_sumTo (f : Nat → α) (n : Nat) (t : SumTree)
    (horder : ∀ k, t.occurrences k = if k < n then 1 else 0) : t.sum f = sumTo n f := by
  rw [sumTree_sum_weighted f n t (fun k hk => by
    have := horder k
    rw [this, if_neg (by omega)])]
  refine sumTo_congr (fun k hk => ?_)
  rw [horder k, if_pos hk]
  simp only [count]; grind

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem Computes.nonneg {u w : α} {x y : Nat → α} {t : SumTree} {v : α}
    (h : Computes u w x y t v) : 0 ≤ u ∧ 0 ≤ w := by
  induction h with
  | leaf k d e => constructor <;> grind
  | node l r a b d hl hr hdl hdu ihl ihr => exact ihl
  | fused l k a d e hl hdl hdu hel heu ihl => exact ihl

theorem abs_sum_le (f : Nat → α) (t : SumTree) : abs (t.sum f) ≤ t.sum (fun k => abs (f k)) := by
  induction t with
  | leaf k => exact Std.le_refl _
  | node l r ihl ihr =>
    have := abs_add_le (l.sum f) (r.sum f)
    simp only [SumTree.sum]; grind

theorem one_add_le_power {u : α} (hu : 0 ≤ u) (t : SumTree) :
    1 + u ≤ power (1 + u) t.leaves := by
  have h : ∀ s : SumTree, 0 < s.leaves := fun s => by
    induction s with
    | leaf k => simp only [SumTree.leaves]; omega
    | node l r ihl ihr => simp only [SumTree.leaves]; omega
  obtain ⟨m, hm⟩ : ∃ m, t.leaves = m + 1 := ⟨t.leaves - 1, by have := h t; omega⟩
  have h1 := one_le_power hu m
  have h2 := mul_nonneg (a := power (1 + u) m - 1) (b := 1 + u) (by grind) (by
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    grind)
  rw [hm]; simp only [power]; grind

/-- Rounding a value `v` that is within `B` of `s`, where `s` has size at most `S`. -/
theorem abs_round_sub_le {v s B S u d : α} (hu : 0 ≤ u) (hB : abs (v - s) ≤ B) (hS : abs s ≤ S)
    (hdlower : -u ≤ d) (hdupper : d ≤ u) : abs (v * (1 + d) - s) ≤ (1 + u) * B + u * S := by
  have h1 := abs_mul_le (a := v - s) hdlower hdupper
  have h2 := abs_mul_le (a := s) hdlower hdupper
  have h3 := mul_nonneg (b := B - abs (v - s)) hu (by grind)
  have h4 := mul_nonneg (b := S - abs s) hu (by grind)
  have h5 := abs_add_le ((v - s) * d) (s * d)
  have h6 := abs_add_le (v - s) ((v - s) * d + s * d)
  have h7 : v * (1 + d) - s = (v - s) + ((v - s) * d + s * d) := by grind
  rw [h7]; grind

/-- The error of a dot product of `m` products, with powers of `1 + u`. -/
theorem dot_rounding_error_power_le (u w : α) (x y : Nat → α) (t : SumTree) (v : α)
    (hcomputed : Computes u w x y t v) :
    abs (v - t.sum (fun k => x k * y k)) ≤
      (power (1 + u) t.leaves - 1) * t.sum (fun k => abs (x k * y k))
        + count t.leaves * w * power (1 + u) t.leaves := by
  have hnonneg := hcomputed.nonneg
  have hu := hnonneg.1
  have hw := hnonneg.2
  induction hcomputed with
  | leaf k d e hdl hdu hel heu =>
    have h1 := abs_mul_le (a := x k * y k) hdl hdu
    have h2 : abs e ≤ w := abs_le heu (by grind)
    have h3 := abs_add_le (x k * y k * d) e
    have h4 : x k * y k * (1 + d) + e - x k * y k = x k * y k * d + e := by grind
    have h5 := mul_nonneg hw hu
    simp only [SumTree.sum, SumTree.leaves, power, count]
    rw [h4]; grind
  | node l r a b d hl hr hdl hdu ihl ihr =>
    have hel := ihl
    have her := ihr
    have hsl := abs_sum_le (fun k => x k * y k) l
    have hsr := abs_sum_le (fun k => x k * y k) r
    have hpl := one_add_le_power hu l
    have hpr := one_add_le_power hu r
    have hml := mul_nonneg (count_nonneg (α := α) l.leaves) hw
    have hmr := mul_nonneg (count_nonneg (α := α) r.leaves) hw
    simp only [SumTree.sum, SumTree.leaves, power_add, count_add]
    generalize l.sum (fun k => abs (x k * y k)) = Sl at *
    generalize r.sum (fun k => abs (x k * y k)) = Sr at *
    generalize l.sum (fun k => x k * y k) = sl at *
    generalize r.sum (fun k => x k * y k) = sr at *
    generalize power (1 + u) l.leaves = Pl at *
    generalize power (1 + u) r.leaves = Pr at *
    generalize (count l.leaves : α) = ml at *
    generalize (count r.leaves : α) = mr at *
    have hSl : 0 ≤ Sl := by have := abs_nonneg sl; grind
    have hSr : 0 ≤ Sr := by have := abs_nonneg sr; grind
    have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    have hB : abs (a + b - (sl + sr)) ≤
        ((Pl - 1) * Sl + ml * w * Pl) + ((Pr - 1) * Sr + mr * w * Pr) := by
      have h1 := abs_add_le (a - sl) (b - sr)
      have h2 : a + b - (sl + sr) = a - sl + (b - sr) := by grind
      rw [h2]; grind
    have hS : abs (sl + sr) ≤ Sl + Sr := by
      have := abs_add_le sl sr
      grind
    have h := abs_round_sub_le hu hB hS hdl hdu
    have g1 := mul_nonneg (mul_nonneg (a := Pl) (b := Pr - (1 + u)) (by grind) (by grind)) hSl
    have g2 := mul_nonneg (mul_nonneg (a := Pr) (b := Pl - (1 + u)) (by grind) (by grind)) hSr
    have g3 := mul_nonneg (mul_nonneg (a := Pl) (b := Pr - (1 + u)) (by grind) (by grind)) hml
    have g4 := mul_nonneg (mul_nonneg (a := Pr) (b := Pl - (1 + u)) (by grind) (by grind)) hmr
    grind
  | fused l k a d e hl hdl hdu hel heu ihl =>
    have hel' := ihl
    have hsl := abs_sum_le (fun k => x k * y k) l
    have hpl := one_add_le_power hu l
    have hml := mul_nonneg (count_nonneg (α := α) l.leaves) hw
    simp only [SumTree.sum, SumTree.leaves, power, count]
    generalize l.sum (fun k => abs (x k * y k)) = Sl at *
    generalize l.sum (fun k => x k * y k) = sl at *
    generalize power (1 + u) l.leaves = Pl at *
    generalize (count l.leaves : α) = ml at *
    generalize x k * y k = p at *
    have hSl : 0 ≤ Sl := by have := abs_nonneg sl; grind
    have hp := abs_nonneg p
    have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    have hB : abs (a + p - (sl + p)) ≤ (Pl - 1) * Sl + ml * w * Pl := by
      have h2 : a + p - (sl + p) = a - sl := by grind
      rw [h2]; exact hel'
    have hS : abs (sl + p) ≤ Sl + abs p := by
      have := abs_add_le sl p
      grind
    have h := abs_round_sub_le hu hB hS hdl hdu
    have h2 : abs e ≤ w := abs_le heu (by grind)
    have h3 := abs_add_le ((a + p) * (1 + d) - (sl + p)) e
    have h4 : (a + p) * (1 + d) + e - (sl + p) = (a + p) * (1 + d) - (sl + p) + e := by grind
    have g1 := mul_nonneg (mul_nonneg (a := 1 + u) (b := Pl - 1) (by grind) (by grind)) hp
    have g2 := mul_nonneg (mul_nonneg (a := 1 + u) (b := Pl - 1) (by grind) (by grind)) hw
    have g3 := mul_nonneg hu hw
    rw [h4]; grind

theorem power_mul_le_one {u : α} (hu : 0 ≤ u) (m : Nat) :
    power (1 + u) m * (1 - count m * u) ≤ 1 := by
  induction m with
  | zero => simp only [power, count]; grind
  | succ m ih =>
    have h1 := one_le_power hu m
    have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    have h2 := mul_nonneg (a := power (1 + u) m) (b := (count m + 1) * (u * u)) (by grind)
      (mul_nonneg (by have := count_nonneg (α := α) m; grind) (mul_self_nonneg u))
    simp only [power, count]; grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The bound `m u / (1 - m u)` of the relative error of `m` roundings. -/
def gamma (m : Nat) (u : α) : α := count m * u / (1 - count m * u)

/-- A product of `m` factors `1 + u` exceeds 1 by at most `gamma m u`. -/
theorem power_sub_one_le_gamma (m : Nat) (u : α) (hu : 0 ≤ u) (hmu : count m * u < 1) :
    power (1 + u) m - 1 ≤ gamma m u := by
  have h := power_mul_le_one hu m
  exact le_div (by grind) (by grind)

/-- The error of a dot product in floating point. If each operation returns
`exact * (1 + d) + e`, then in any order of summation, with or without fused multiply-add, the
computed value is within `gamma m u` times the sum of the absolute products, and a term for
underflow, of the exact one; `m` is the number of products. -/
theorem dot_rounding_error_le (u w : α) (x y : Nat → α) (t : SumTree) (v : α)
    (hcomputed : Computes u w x y t v) (hmu : count t.leaves * u < 1) :
    abs (v - t.sum (fun k => x k * y k)) ≤
      gamma t.leaves u * t.sum (fun k => abs (x k * y k))
        + count t.leaves * w * (1 + gamma t.leaves u) := by
  have h1 := dot_rounding_error_power_le u w x y t v hcomputed
  have h2 := power_sub_one_le_gamma t.leaves u hcomputed.nonneg.1 hmu
  have h3 := abs_sum_le (fun k => x k * y k) t
  have h4 := abs_nonneg (t.sum (fun k => x k * y k))
  have h5 := mul_nonneg (a := gamma t.leaves u - (power (1 + u) t.leaves - 1))
    (b := t.sum (fun k => abs (x k * y k))) (by grind) (by grind)
  have h6 := mul_nonneg (a := gamma t.leaves u - (power (1 + u) t.leaves - 1))
    (b := count t.leaves * w) (by grind)
    (mul_nonneg (count_nonneg t.leaves) hcomputed.nonneg.2)
  grind

end Field

end CertVQ
