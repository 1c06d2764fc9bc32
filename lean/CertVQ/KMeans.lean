import CertVQ.FixedPoint
import CertVQ.Lloyd
import CertVQ.Rounding

/-!
# k-means with one answer

In: integers in any order of summation, a mean and a float format, an iteration of k-means, or
bounds of the distances of a row. Out: that sum and rounded mean are unique, that no iteration
raises the distortion, and that a row keeps its code although the code vectors move. Imports the
triangle inequality, weighted means and trees of sums.
-/

namespace CertVQ

/-- Integers have one sum: in whatever order the rows are added, and however they are split into
shards, a tree in which each row below `N` occurs once has the sum from the first to the last. -/
theorem exact_sum_merge (N : Nat) (t : SumTree) (v : Nat → Int)
    (horder : ∀ k, t.occurrences k = if k < N then 1 else 0) : t.sum v = sumTo N v :=
  sumTree_sum_eq_sumTo v N t horder

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The float `r` is `m` rounded to nearest; where two floats are nearest, the significand of `r`
is even. -/
def IsRounded (isFloat isEven : α → Prop) (m r : α) : Prop :=
  isFloat r ∧ ∀ f, isFloat f → abs (m - r) ≤ abs (m - f) ∧
    (abs (m - f) ≤ abs (m - r) → f ≠ r → isEven r)

/-- Two floats that both round `m` are not in this order: between them a third one would lie. -/
theorem isRounded_not_lt {isFloat isEven : α → Prop} {m r s : α}
    (heven : ∀ a b, isFloat a → isEven a → isFloat b → isEven b → a < b →
      ∃ c, isFloat c ∧ a < c ∧ c < b)
    (hr : IsRounded isFloat isEven m r) (hs : IsRounded isFloat isEven m s) : ¬ r < s := by
  intro hlt
  have h1 := hr.2 s hs.1
  have h2 := hs.2 r hr.1
  have h3 := h1.2 h2.1 (by grind)
  have h4 := h2.2 h1.1 (by grind)
  obtain ⟨c, hc, hrc, hcs⟩ := heven r s hr.1 h3 hs.1 h4 hlt
  have h5 := (hr.2 c hc).1
  have h6 := (hs.2 c hc).1
  have h7 := le_abs (m - r)
  have h8 := neg_le_abs (m - s)
  have h9 : abs (m - c) = m - c ∨ abs (m - c) = -(m - c) := by
    unfold abs
    split
    · exact Or.inl rfl
    · exact Or.inr rfl
  cases h9 with
  | inl h => grind
  | inr h => grind

/-- The correctly rounded mean of a cell is one number: for any float format in which no two
neighbours have even significands, everyone who divides the sum by the count, or the weight, and
rounds the quotient to nearest and even has the same float. -/
theorem rounded_mean_unique (isFloat isEven : α → Prop) (N : Nat) (value : Nat → α)
    (count m m2 r s : α) (hcount : 0 < count) (hmean : count * m = sumTo N value)
    (hagain : count * m2 = sumTo N value)
    (heven : ∀ a b, isFloat a → isEven a → isFloat b → isEven b → a < b →
      ∃ c, isFloat c ∧ a < c ∧ c < b)
    (hr : IsRounded isFloat isEven m r) (hs : IsRounded isFloat isEven m2 s) : r = s := by
  have hm : m = m2 := by
    by_cases h1 : m < m2
    · have := mul_pos hcount (b := m2 - m) (by grind)
      grind
    · by_cases h2 : m2 < m
      · have := mul_pos hcount (b := m - m2) (by grind)
        grind
      · grind
  subst hm
  have h1 := isRounded_not_lt heven hr hs
  have h2 := isRounded_not_lt heven hs hr
  grind

/-- An iteration of k-means, nearest codes and then weighted means, never raises the distortion,
but for what rounding the means costs. -/
theorem lloyd_iteration_distortion_le (K N n : Nat) (x : Nat → Nat → α) (weight slack : Nat → α)
    (codes next : Nat → Nat) (C M R : Nat → Nat → α) (hcodes : ∀ p, p < N → codes p < K)
    (hweight : ∀ p, p < N → 0 ≤ weight p)
    (hnear : ∀ p, p < N → IsNearestCode K n C (x p) (next p))
    (hmean : IsWeightedMean K N n weight x next M)
    (hround : ∀ j, j < K → squaredL2 n (M j) (R j) ≤ slack j) :
    weightedDistortion N n weight x next R ≤
      weightedDistortion N n weight x codes C + sumTo N (fun p => weight p * slack (next p)) := by
  have hinside : ∀ p, p < N → next p < K := fun p hp => (hnear p hp).1
  have h1 := weightedDistortion_through_mean K N n weight x next M R hinside hmean
  have h2 := weightedDistortion_through_mean K N n weight x next M C hinside hmean
  have h3 : weightedDistortion N n weight x next C ≤ weightedDistortion N n weight x codes C :=
    sumTo_le (fun p hp => by
      have := mul_le_mul (Std.le_refl (weight p)) ((hnear p hp).2 (codes p) (hcodes p hp))
        (squaredL2_nonneg n (x p) (C (next p))) (hweight p hp)
      exact this)
  have h4 : 0 ≤ sumTo N (fun p => weight p * squaredL2 n (M (next p)) (C (next p))) :=
    sumTo_nonneg (fun p hp => mul_nonneg (hweight p hp) (squaredL2_nonneg n _ _))
  have h5 : sumTo N (fun p => weight p * squaredL2 n (M (next p)) (R (next p))) ≤
      sumTo N (fun p => weight p * slack (next p)) :=
    sumTo_le (fun p hp => by
      have := mul_le_mul (Std.le_refl (weight p)) (hround (next p) (hinside p hp))
        (squaredL2_nonneg n (M (next p)) (R (next p))) (hweight p hp)
      exact this)
  grind

/-- A row keeps its code, lowest index at ties, if the upper bound of its distance plus what its
code vector moved is at most every lower bound of another distance less what that one moved (and
less, for codes of lower index). The bounds, moved along, are bounds again. -/
theorem skip_sound (K n : Nat) (C M : Nat → Nat → α) (z lower move : Nat → α) (upper : α) (i : Nat)
    (hi : i < K) (hupper : 0 ≤ upper ∧ squaredL2 n z (C i) ≤ upper * upper)
    (hlower : ∀ j, j < K → j ≠ i → lower j * lower j ≤ squaredL2 n z (C j))
    (hmove : ∀ j, j < K → 0 ≤ move j ∧ squaredL2 n (C j) (M j) ≤ move j * move j)
    (hclear : ∀ j, j < K → j ≠ i → upper + move i ≤ lower j - move j ∧
      (j < i → upper + move i < lower j - move j)) :
    IsLowestNearestCode K n M z i ∧
      squaredL2 n z (M i) ≤ (upper + move i) * (upper + move i) ∧
      ∀ j, j < K → j ≠ i → 0 ≤ lower j - move j ∧
        (lower j - move j) * (lower j - move j) ≤ squaredL2 n z (M j) := by
  have hmi := hmove i hi
  have hup : squaredL2 n z (M i) ≤ (upper + move i) * (upper + move i) := by
    have := squaredL2_le_add hupper.1 hmi.1 hupper.2 hmi.2
    grind
  have hlow : ∀ j, j < K → j ≠ i → 0 ≤ lower j - move j ∧
      (lower j - move j) * (lower j - move j) ≤ squaredL2 n z (M j) := fun j hj hne => by
    have h1 := hclear j hj hne
    have h2 := hmove j hj
    have h3 := hlower j hj hne
    have h4 : 0 ≤ lower j - move j := by grind
    refine ⟨h4, ?_⟩
    by_cases h : (lower j - move j) * (lower j - move j) ≤ squaredL2 n z (M j)
    · exact h
    · have h5 : squaredL2 n z (M j) ≤ (lower j - move j) * (lower j - move j) := by grind
      have h6 : squaredL2 n (M j) (C j) ≤ move j * move j := by rw [squaredL2_comm]; exact h2.2
      have h7 := squaredL2_le_add h4 h2.1 h5 h6
      grind
  have hcloser : ∀ j, j < K → j ≠ i → squaredL2 n z (M i) ≤ squaredL2 n z (M j) ∧
      (j < i → squaredL2 n z (M i) < squaredL2 n z (M j)) := fun j hj hne => by
    have h1 := hclear j hj hne
    have h2 := hlow j hj hne
    have h3 : 0 ≤ upper + move i := by grind
    have h4 := mul_le_mul h1.1 h1.1 h3 h2.1
    refine ⟨by grind, fun hlt => ?_⟩
    have h5 := h1.2 hlt
    have h6 := mul_pos (a := lower j - move j - (upper + move i))
      (b := lower j - move j + (upper + move i)) (by grind) (by grind)
    grind
  refine ⟨⟨⟨hi, fun j hj => ?_⟩, fun j hj => ?_⟩, hup, hlow⟩
  · by_cases h : j = i
    · subst h; exact Std.le_refl _
    · exact (hcloser j hj h).1
  · by_cases h : j < i
    · have h1 := (hcloser j hj.1 (by omega)).2 h
      have h2 := hj.2 i hi
      grind
    · omega

/-- The same with one lower bound for the distances of all other codes, and the greatest move of
any of them. The gap may vanish only for code 0, of which no code is lower. -/
theorem single_bound_skip_sound (K n : Nat) (C M : Nat → Nat → α) (z : Nat → α)
    (upper least own most : α) (i : Nat) (hi : i < K)
    (hupper : 0 ≤ upper ∧ squaredL2 n z (C i) ≤ upper * upper)
    (hlower : ∀ j, j < K → j ≠ i → least * least ≤ squaredL2 n z (C j))
    (hown : 0 ≤ own ∧ squaredL2 n (C i) (M i) ≤ own * own)
    (hmost : 0 ≤ most ∧ ∀ j, j < K → j ≠ i → squaredL2 n (C j) (M j) ≤ most * most)
    (hclear : upper + own ≤ least - most) (hstrict : 0 < i → upper + own < least - most) :
    IsLowestNearestCode K n M z i ∧ squaredL2 n z (M i) ≤ (upper + own) * (upper + own) ∧
      ∀ j, j < K → j ≠ i → 0 ≤ least - most ∧
        (least - most) * (least - most) ≤ squaredL2 n z (M j) := by
  obtain ⟨move, hmi, hmj⟩ :
      ∃ move : Nat → α, move i = own ∧ ∀ j, j ≠ i → move j = most :=
    ⟨fun j => if j = i then own else most, if_pos rfl, fun j h => if_neg h⟩
  have h := skip_sound K n C M z (fun _ => least) move upper i hi hupper hlower
    (fun j hj => by
      by_cases h : j = i
      · subst h; rw [hmi]; exact hown
      · rw [hmj j h]; exact ⟨hmost.1, hmost.2 j hj h⟩)
    (fun j hj h => by
      rw [hmi, hmj j h]
      exact ⟨hclear, fun hlt => hstrict (by omega)⟩)
  rw [hmi] at h
  refine ⟨h.1, h.2.1, fun j hj hne => ?_⟩
  have h1 := h.2.2 j hj hne
  rw [hmj j hne] at h1
  exact h1

end OrderedRing

end CertVQ
