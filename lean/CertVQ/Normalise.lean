import CertVQ.CauchySchwarz

/-!
# Errors through group, layer and RMS norm

In: the exact and the computed values of a group, with their means, and the roots of their mean
squares plus epsilon. Out: how far the normalised values are apart, in the whole group and in any
part of it, such as one place. Imports `CertVQ.CauchySchwarz`.
-/

namespace CertVQ

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- The sum of the squares of the chosen entries. -/
def part (n : Nat) (chosen : Nat → Bool) (v : Nat → α) : α :=
  sumTo n (fun k => if chosen k then v k * v k else 0)

theorem squaredL2_scaled (n : Nat) (u v : Nat → α) (i ic : α) :
    squaredL2 n (fun k => v k * ic) (fun k => u k * i) =
      dot n v v * (ic * ic) - 2 * dot n v u * (ic * i) + dot n u u * (i * i) := by
  induction n with
  | zero => simp only [squaredL2, dot, sumTo]; grind
  | succ n ih => simp only [squaredL2, dot, sumTo] at ih ⊢; grind

theorem squaredL2_centred (n : Nat) (x xc : Nat → α) (d dc : α) :
    squaredL2 n (fun k => xc k - dc) (fun k => x k - d) =
      squaredL2 n xc x - 2 * (dc - d) * (sumTo n xc - sumTo n x)
        + (dc - d) * (dc - d) * count n := by
  induction n with
  | zero => simp only [squaredL2, sumTo, count]; grind
  | succ n ih => simp only [squaredL2, sumTo, count] at ih ⊢; grind

theorem dot_add_self (n : Nat) (x y : Nat → α) :
    dot n (fun k => x k + y k) (fun k => x k + y k) =
      dot n x x + 2 * dot n x y + dot n y y := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih => simp only [dot, sumTo] at ih ⊢; grind

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem dot_add_self_le {n : Nat} {x y : Nat → α} {A B : α} (hA : 0 ≤ A) (hB : 0 ≤ B)
    (hx : dot n x x ≤ A * A) (hy : dot n y y ≤ B * B) :
    dot n (fun k => x k + y k) (fun k => x k + y k) ≤ (A + B) * (A + B) := by
  have h1 := abs_dot_le hA hB hx hy
  have h2 := le_abs (dot n x y)
  rw [dot_add_self]
  grind

/-- Taking off `a` times the mean makes no difference of two vectors longer, for `a` in `[0, 1]`;
and the means differ by no more than the values do. -/
theorem squaredL2_centred_le {n : Nat} {x xc : Nat → α} {a mu muc : α} (ha0 : 0 ≤ a) (ha1 : a ≤ 1)
    (hmean : count n * mu = sumTo n x) (hmeanc : count n * muc = sumTo n xc) :
    squaredL2 n (fun k => xc k - a * muc) (fun k => x k - a * mu) ≤ squaredL2 n xc x ∧
      count n * ((muc - mu) * (muc - mu)) ≤ squaredL2 n xc x := by
  have h1 := squaredL2_centred n x xc (a * mu) (a * muc)
  have h2 := squaredL2_centred n x xc mu muc
  have h3 := squaredL2_nonneg n (fun k => xc k - muc) (fun k => x k - mu)
  rw [h2, ← hmean, ← hmeanc] at h3
  rw [h1, ← hmean, ← hmeanc]
  have h4 := mul_nonneg (count_nonneg (α := α) n) (mul_self_nonneg (muc - mu))
  have h5 := mul_nonneg (mul_nonneg (a := a) (b := 2 - a) ha0 (by
    have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
    grind)) h4
  constructor <;> grind

theorem turn_le {N T E s sc j : α} (h1 : 0 ≤ (N + T) * ((s - sc) * (s - sc)))
    (h2 : 0 ≤ E * (j * j) * ((s + sc) * (s + sc))) :
    (2 * N - 2 * T - E * (j * j)) * ((s + sc) * (s + sc)) ≤
      4 * (N * (s * s) + N * (sc * sc) - 2 * (T * (s * sc))) := by
  grind

/-- What holds of the numbers: `N` values, `P = |u|^2`, `Q = |v|^2`, `R = v . u`, `E = N eps`. -/
theorem roots_apart {N E P Q R s sc i ic : α} (hN : 0 ≤ N) (hE : 0 ≤ E) (hs : 0 < s) (hsc : 0 < sc)
    (hi : i * s = 1) (hic : ic * sc = 1) (h1 : N * (s * s) = P + E) (h2 : N * (sc * sc) = Q + E)
    (hD : 0 ≤ Q - 2 * R + P) (hR : R * R ≤ Q * P) :
    (Q * (ic * ic) - 2 * R * (ic * i) + P * (i * i)) * ((s + sc) * (s + sc)) ≤
        4 * (Q - 2 * R + P) ∧
      N * ((s - sc) * (s - sc)) ≤ Q - 2 * R + P := by
  have hp := mul_pos hs hsc
  have hM : 0 ≤ N * (s * sc) := mul_nonneg hN (by grind)
  have e1 : (R + E) * (R + E) ≤ (N * (s * sc)) * (N * (s * sc)) := by
    have e0 : (N * (s * sc)) * (N * (s * sc)) = (P + E) * (Q + E) := by rw [← h1, ← h2]; grind
    have := mul_nonneg hE hD
    rw [e0]; grind
  have e2 := le_of_mul_self_le hM e1
  have e3 : -(R + E) ≤ N * (s * sc) := le_of_mul_self_le hM (by grind)
  have hD' : Q - 2 * R + P = N * (s * s) + N * (sc * sc) - 2 * (R + E) := by rw [h1, h2]; grind
  refine ⟨?_, by rw [hD']; grind⟩
  have hinv := mul_pos (inverse_pos hsc hic) (inverse_pos hs hi)
  have hT : (R + E) * (ic * i) * (s * sc) = R + E := by
    have : (R + E) * (ic * i) * (s * sc) = (R + E) * ((i * s) * (ic * sc)) := by grind
    rw [this, hi, hic]; grind
  have hunit : N * (s * sc) * (ic * i) = N := by
    have : N * (s * sc) * (ic * i) = N * ((i * s) * (ic * sc)) := by grind
    rw [this, hi, hic]; grind
  have hturn : 0 ≤ N + (R + E) * (ic * i) := by
    have := mul_nonneg (a := N * (s * sc) + (R + E)) (b := ic * i) (by grind) (by grind)
    grind
  have hP : P * (i * i) = N - E * (i * i) := by
    have : (P + E) * (i * i) = N * ((i * s) * (i * s)) := by rw [← h1]; grind
    rw [hi] at this; grind
  have hQ : Q * (ic * ic) = N - E * (ic * ic) := by
    have : (Q + E) * (ic * ic) = N * ((ic * sc) * (ic * sc)) := by rw [← h2]; grind
    rw [hic] at this; grind
  have hX : Q * (ic * ic) - 2 * R * (ic * i) + P * (i * i) =
      2 * N - 2 * ((R + E) * (ic * i)) - E * ((i - ic) * (i - ic)) := by rw [hP, hQ]; grind
  have hgap : Q - 2 * R + P =
      N * (s * s) + N * (sc * sc) - 2 * ((R + E) * (ic * i) * (s * sc)) := by rw [hT]; exact hD'
  rw [hX, hgap]
  exact turn_le (mul_nonneg hturn (mul_self_nonneg (s - sc)))
    (mul_nonneg (mul_nonneg hE (mul_self_nonneg (i - ic))) (mul_self_nonneg (s + sc)))

/-- From there to the bound. -/
theorem normalised_small {N gap out s sc e t g : α} (hN : 0 ≤ N) (hs : 0 < s)
    (hsc : 0 < sc) (he : 0 ≤ e) (ht : 0 ≤ t) (hclear : t < 2 * sc) (hg : 2 * e ≤ g * (2 * sc - t))
    (hout : 0 ≤ out) (h1 : out * ((s + sc) * (s + sc)) ≤ 4 * gap)
    (h2 : N * ((s - sc) * (s - sc)) ≤ gap) (h3 : gap ≤ e * e) (h4 : e * e ≤ N * (t * t)) :
    out ≤ g * g := by
  by_cases hN0 : 0 < N
  · have h5 : (sc - s) * (sc - s) ≤ t * t := le_of_mul_le_mul hN0 (by grind)
    have h6 := le_of_mul_self_le ht h5
    have h7 := mul_le_mul (a := 2 * sc - t) (b := s + sc) (c := 2 * sc - t) (d := s + sc)
      (by grind) (by grind) (by grind) (by grind)
    have h8 := mul_nonneg hout (b := (s + sc) * (s + sc) - (2 * sc - t) * (2 * sc - t)) (by grind)
    have h9 := mul_le_mul hg hg (by grind) (by grind)
    have h10 := mul_pos (a := 2 * sc - t) (b := 2 * sc - t) (by grind) (by grind)
    exact le_of_mul_le_mul h10 (by grind)
  · have h5 : N = 0 := by grind
    rw [h5] at h4
    have h6 := mul_pos (a := s + sc) (b := s + sc) (by grind) (by grind)
    have h7 : out ≤ 0 := le_of_mul_le_mul h6 (by grind)
    have := mul_self_nonneg g
    grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- How far apart two normalised vectors, and their roots, are at most. -/
theorem normalised_apart {n : Nat} {u v : Nat → α} {eps s sc : α} (heps : 0 ≤ eps) (hs0 : 0 < s)
    (hsc0 : 0 < sc) (hs : count n * (s * s) = dot n u u + count n * eps)
    (hsc : count n * (sc * sc) = dot n v v + count n * eps) :
    squaredL2 n (fun k => v k / sc) (fun k => u k / s) * ((s + sc) * (s + sc)) ≤
        4 * squaredL2 n v u ∧
      count n * ((s - sc) * (s - sc)) ≤ squaredL2 n v u := by
  have hi : s⁻¹ * s = 1 := by
    have := Lean.Grind.Field.mul_inv_cancel (a := s) (by grind)
    grind
  have hic : sc⁻¹ * sc = 1 := by
    have := Lean.Grind.Field.mul_inv_cancel (a := sc) (by grind)
    grind
  have hover : squaredL2 n (fun k => v k / sc) (fun k => u k / s) =
      squaredL2 n (fun k => v k * sc⁻¹) (fun k => u k * s⁻¹) :=
    sumTo_congr (fun k _ => by
      simp only [Lean.Grind.Field.div_eq_mul_inv])
  have hgap : squaredL2 n v u = dot n v v - 2 * dot n v u + dot n u u := squaredL2_eq_dot n v u
  have hnonneg := squaredL2_nonneg n v u
  rw [hgap] at hnonneg
  rw [hover, squaredL2_scaled, hgap]
  exact roots_apart (count_nonneg n) (mul_nonneg (count_nonneg n) heps) hs0 hsc0 hi hic hs hsc
    hnonneg (dot_mul_self_le n v u)

/-- The error of a normalised group is at most `2 e / (2 sc - t)`, where `e` bounds the error of
the values, `t` is at least `e` over the root of their number, and `sc` is the root of the mean
square plus epsilon of the values as given; `a` is 1 for group and layer norm, 0 for RMS norm. -/
theorem normalise_error_le (n : Nat) (x xc : Nat → α) (a eps e t g mu muc s sc : α) (ha0 : 0 ≤ a)
    (ha1 : a ≤ 1) (heps0 : 0 ≤ eps) (he0 : 0 ≤ e) (ht0 : 0 ≤ t) (hs0 : 0 < s)
    (hmean : count n * mu = sumTo n x) (hmeanc : count n * muc = sumTo n xc)
    (hs : count n * (s * s) = dot n (fun k => x k - a * mu) (fun k => x k - a * mu)
      + count n * eps)
    (hsc : count n * (sc * sc) = dot n (fun k => xc k - a * muc) (fun k => xc k - a * muc)
      + count n * eps)
    (herr : squaredL2 n xc x ≤ e * e) (ht : e * e ≤ count n * (t * t)) (hclear : t < 2 * sc)
    (hg : 2 * e ≤ g * (2 * sc - t)) :
    squaredL2 n (fun k => (xc k - a * muc) / sc) (fun k => (x k - a * mu) / s) ≤ g * g := by
  have hsc0 : 0 < sc := by grind
  have h1 := normalised_apart heps0 hs0 hsc0 hs hsc
  have h2 := (squaredL2_centred_le ha0 ha1 hmean hmeanc).1
  exact normalised_small (count_nonneg n) hs0 hsc0 he0 ht0 hclear hg (squaredL2_nonneg n _ _)
    h1.1 h1.2 (by grind) ht

/-- The error of a part of a normalised group, such as one place, is at most
`(own + slip + most t) / (sc - t)`: `own` bounds the error of the values of that part, `most` the
norm of its computed result, and `slip` the norm that `t` has in each of its entries. -/
theorem normalise_place_error_le (n : Nat) (chosen : Nat → Bool) (x xc : Nat → α)
    (a eps e t g mu muc s sc own slip most : α) (ha0 : 0 ≤ a)
    (ha1 : a ≤ 1) (heps0 : 0 ≤ eps) (ht0 : 0 ≤ t) (hs0 : 0 < s)
    (hmean : count n * mu = sumTo n x) (hmeanc : count n * muc = sumTo n xc)
    (hs : count n * (s * s) = dot n (fun k => x k - a * mu) (fun k => x k - a * mu)
      + count n * eps)
    (hsc : count n * (sc * sc) = dot n (fun k => xc k - a * muc) (fun k => xc k - a * muc)
      + count n * eps)
    (herr : squaredL2 n xc x ≤ e * e) (ht : e * e ≤ count n * (t * t))
    (hown0 : 0 ≤ own) (hslip0 : 0 ≤ slip) (hmost0 : 0 ≤ most)
    (hown : part n chosen (fun k => xc k - x k) ≤ own * own)
    (hslip : part n chosen (fun _ => t) ≤ slip * slip)
    (hmost : part n chosen (fun k => (xc k - a * muc) / sc) ≤ most * most)
    (hclear : t < sc) (hg : own + slip + most * t ≤ g * (sc - t)) :
    part n chosen (fun k => (xc k - a * muc) / sc - (x k - a * mu) / s) ≤ g * g := by
  have hsc0 : 0 < sc := by grind
  by_cases hn : 0 < n
  · have hN := count_pos (α := α) hn
    have h1 := (normalised_apart heps0 hs0 hsc0 hs hsc).2
    have h2 := squaredL2_centred_le ha0 ha1 hmean hmeanc
    have hroot : (sc - s) * (sc - s) ≤ t * t := le_of_mul_le_mul hN (by grind)
    have hnear := le_of_mul_self_le ht0 hroot
    have hdrift : (muc - mu) * (muc - mu) ≤ t * t := le_of_mul_le_mul hN (by grind)
    have hshift : a * (muc - mu) * (a * (muc - mu)) ≤ t * t := by
      have h3 := mul_nonneg (mul_nonneg (a := 1 - a) (b := 1 + a) (by grind) (by
        have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
        grind)) (mul_self_nonneg (muc - mu))
      grind
    have hmask : ∀ v : Nat → α, dot n (fun k => if chosen k then v k else 0)
        (fun k => if chosen k then v k else 0) = part n chosen v := fun v =>
      sumTo_congr (fun k _ => by dsimp only; split <;> grind)
    have hgrow : ∀ v w : Nat → α, (∀ k, k < n → v k * v k ≤ w k * w k) →
        part n chosen v ≤ part n chosen w := fun v w h =>
      sumTo_le (fun k hk => by
        have := h k hk
        split <;> grind)
    have h4 : part n chosen (fun _ => -(a * (muc - mu))) ≤ slip * slip :=
      Std.le_trans (hgrow _ (fun _ => t) (fun _ _ => by grind)) hslip
    have h5 : part n chosen (fun k => (xc k - a * muc) / sc * (s - sc)) ≤
        most * t * (most * t) := by
      have h6 := hgrow (fun k => (xc k - a * muc) / sc * (s - sc))
        (fun k => t * ((xc k - a * muc) / sc)) (fun k _ => by
          have := mul_nonneg (mul_self_nonneg ((xc k - a * muc) / sc))
            (b := t * t - (sc - s) * (sc - s)) (by grind)
          grind)
      have h7 : part n chosen (fun k => t * ((xc k - a * muc) / sc)) =
          t * t * part n chosen (fun k => (xc k - a * muc) / sc) := by
        unfold part
        rw [← sumTo_mul_left]
        exact sumTo_congr (fun k _ => by dsimp only; split <;> grind)
      have h8 := mul_nonneg (mul_self_nonneg t)
        (b := most * most - part n chosen (fun k => (xc k - a * muc) / sc)) (by grind)
      grind
    rw [← hmask] at hown h4 h5
    have h9 := dot_add_self_le (by grind) (mul_nonneg hmost0 ht0)
      (dot_add_self_le hown0 hslip0 hown h4) h5
    have h10 : dot n (fun k => (if chosen k then xc k - x k else 0)
          + (if chosen k then -(a * (muc - mu)) else 0)
          + (if chosen k then (xc k - a * muc) / sc * (s - sc) else 0))
        (fun k => (if chosen k then xc k - x k else 0)
          + (if chosen k then -(a * (muc - mu)) else 0)
          + (if chosen k then (xc k - a * muc) / sc * (s - sc) else 0)) =
        s * s * part n chosen (fun k => (xc k - a * muc) / sc - (x k - a * mu) / s) := by
      unfold part
      rw [← sumTo_mul_left]
      refine sumTo_congr (fun k _ => ?_)
      have h11 := div_mul_cancel (a := x k - a * mu) hs0
      have h12 := div_mul_cancel (a := xc k - a * muc) hsc0
      dsimp only
      split
      · have h13 : xc k - x k + -(a * (muc - mu)) + (xc k - a * muc) / sc * (s - sc) =
            s * ((xc k - a * muc) / sc - (x k - a * mu) / s) := by grind
        rw [h13]; grind
      · grind
    rw [h10] at h9
    have hpart : 0 ≤ part n chosen (fun k => (xc k - a * muc) / sc - (x k - a * mu) / s) := by
      rw [← hmask]; exact dot_self_nonneg n _
    have h14 := mul_le_mul (a := sc - t) (b := s) (c := sc - t) (d := s) (by grind) (by grind)
      (by grind) (by grind)
    have h15 := mul_nonneg hpart (b := s * s - (sc - t) * (sc - t)) (by grind)
    have h16 : 0 ≤ own + slip + most * t := by have := mul_nonneg hmost0 ht0; grind
    have h17 := mul_le_mul hg hg h16 (by grind)
    have h18 := mul_pos (a := sc - t) (b := sc - t) (by grind) (by grind)
    exact le_of_mul_le_mul h18 (by grind)
  · have h0 : n = 0 := by omega
    subst h0
    simp only [part, sumTo]
    exact mul_self_nonneg g

end Field

end CertVQ
