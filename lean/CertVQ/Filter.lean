import CertVQ.Argmin

/-!
# Filter, certify, refine: what makes the codes of `certvq.assign` the nearest ones

In: computed scores with a rigorous radius `E`, intervals that hold squared distances, and exact
integers proportional to them. Out: when a code is certified, which codes stay candidates, and that
the composition returns the nearest code of lowest index. Imports `CertVQ.Argmin`.
-/

namespace CertVQ

section Definitions

variable {α : Type} [LE α]

/-- Code `k` is still open: its computed score reaches the threshold, and the interval of its
distance does not lie above that of any other code whose score does. -/
def Survives (K : Nat) (computed lower upper : Nat → α) (threshold : α) (k : Nat) : Prop :=
  threshold ≤ computed k ∧ ∀ j, j < K → threshold ≤ computed j → lower k ≤ upper j

end Definitions

section Ring

variable {α : Type} [Lean.Grind.CommRing α] [LE α]

/-- Moving the latent and all code vectors alike changes no nearest code. -/
theorem isNearestCode_translate (K n : Nat) (C : Nat → Nat → α) (z m : Nat → α) (i : Nat) :
    IsNearestCode K n (fun j k => C j k - m k) (fun k => z k - m k) i ↔
      IsNearestCode K n C z i := by
  unfold IsNearestCode
  simp only [squaredL2_translate]

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A code that is nearest among candidates which hold every nearest code is nearest of all. -/
theorem refine_sound (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (candidate : Nat → Prop)
    (i : Nat) (hi : i < K) (hcand : ∀ j, IsNearestCode K n C z j → candidate j)
    (hbest : ∀ j, j < K → candidate j → squaredL2 n z (C i) ≤ squaredL2 n z (C j)) :
    IsNearestCode K n C z i := by
  obtain ⟨m, hm⟩ := exists_isNearestCode K n C z (by omega)
  have h := hbest m hm.1 (hcand m hm)
  refine ⟨hi, fun j hj => ?_⟩
  have := hm.2 j hj
  grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- If every computed score is within `E` of the true one, and the score of code `i` leads every
other by more than `2 * E`, then `i` is nearest, and no other code is. -/
theorem nearest_of_score_gap (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (computed : Nat → α)
    (E : α) (i : Nat) (hi : i < K)
    (herr : ∀ k, k < K →
      computed k - score n z (C k) ≤ E ∧ score n z (C k) - computed k ≤ E)
    (hgap : ∀ j, j < K → j ≠ i → computed j + 2 * E < computed i) :
    IsNearestCode K n C z i ∧ ∀ j, IsNearestCode K n C z j → j = i := by
  have hlead : ∀ j, j < K → j ≠ i → score n z (C j) < score n z (C i) := fun j hj hji => by
    have h1 := herr i hi
    have h2 := herr j hj
    have h3 := hgap j hj hji
    grind
  constructor
  · refine (isNearestCode_iff_score K n C z i).mpr ⟨hi, fun j hj => ?_⟩
    by_cases hji : j = i
    · subst hji; exact Std.le_refl _
    · have := hlead j hj hji; grind
  · intro j hnear
    by_cases hji : j = i
    · exact hji
    · have h1 := hlead j hnear.1 hji
      have h2 := ((isNearestCode_iff_score K n C z j).mp hnear).2 i hi
      grind

/-- If every computed score is within `E` of the true one, the computed score of a nearest code is
below no other by more than `2 * E`, in particular not below the greatest. -/
theorem nearest_mem_candidates (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (computed : Nat → α)
    (E : α) (i m : Nat) (hm : m < K)
    (herr : ∀ k, k < K →
      computed k - score n z (C k) ≤ E ∧ score n z (C k) - computed k ≤ E)
    (hnear : IsNearestCode K n C z i) : computed m - 2 * E ≤ computed i := by
  have h1 := herr i hnear.1
  have h2 := herr m hm
  have h3 := ((isNearestCode_iff_score K n C z i).mp hnear).2 m hm
  grind

/-- Every nearest code survives the filter and the refinement by intervals. -/
theorem nearest_survives (K n : Nat) (C : Nat → Nat → α) (z centre : Nat → α)
    (computed lower upper : Nat → α) (E threshold : α) (best i : Nat) (hbest : best < K)
    (herr : ∀ k, k < K →
      computed k - score n (fun d => z d - centre d) (fun d => C k d - centre d) ≤ E ∧
        score n (fun d => z d - centre d) (fun d => C k d - centre d) - computed k ≤ E)
    (hthreshold : threshold ≤ computed best - 2 * E)
    (hinterval : ∀ k, k < K → threshold ≤ computed k →
      lower k ≤ squaredL2 n z (C k) ∧ squaredL2 n z (C k) ≤ upper k)
    (hnear : IsNearestCode K n C z i) : Survives K computed lower upper threshold i := by
  have h1 := nearest_mem_candidates K n (fun j d => C j d - centre d) (fun d => z d - centre d)
    computed E i best hbest herr ((isNearestCode_translate K n C z centre i).mpr hnear)
  have h2 : threshold ≤ computed i := by grind
  refine ⟨h2, fun j hj hcand => ?_⟩
  have h3 := hinterval i hnear.1 h2
  have h4 := hinterval j hj hcand
  have h5 := hnear.2 j hj
  grind

/-- What `certvq.assign` returns satisfies its contract: the code is nearest, and the lowest of the
nearest ones. Scores are those of latent and code vectors less any vector `centre`. The code was
decided in one of three ways: its computed score leads by more than `2 * E` (`FILTER`); or no other
code survives threshold and intervals (`REFINED`); or, among those that survive, it is the lowest
with the least exact integer (`EXACT`). -/
theorem certified_assign (K n : Nat) (C : Nat → Nat → α) (z centre : Nat → α)
    (computed lower upper exact : Nat → α) (E threshold scale : α) (best i : Nat)
    (hi : i < K) (hbest : best < K)
    (herr : ∀ k, k < K →
      computed k - score n (fun d => z d - centre d) (fun d => C k d - centre d) ≤ E ∧
        score n (fun d => z d - centre d) (fun d => C k d - centre d) - computed k ≤ E)
    (hthreshold : threshold ≤ computed best - 2 * E)
    (hinterval : ∀ k, k < K → threshold ≤ computed k →
      lower k ≤ squaredL2 n z (C k) ∧ squaredL2 n z (C k) ≤ upper k)
    (hscale : 0 < scale)
    (hexact : ∀ k, k < K → exact k = scale * squaredL2 n z (C k))
    (hdecided : (∀ j, j < K → j ≠ i → computed j + 2 * E < computed i) ∨
      (∀ j, j < K → Survives K computed lower upper threshold j → j = i) ∨
      (∀ j, j < K → Survives K computed lower upper threshold j →
        exact i ≤ exact j ∧ (exact j = exact i → i ≤ j))) :
    IsLowestNearestCode K n C z i := by
  have hsurvives := nearest_survives K n C z centre computed lower upper E threshold best
  obtain hgap | honly | hleast := hdecided
  · have h := nearest_of_score_gap K n (fun j d => C j d - centre d) (fun d => z d - centre d)
      computed E i hi herr hgap
    refine ⟨(isNearestCode_translate K n C z centre i).mp h.1, fun j hj => ?_⟩
    have := h.2 j ((isNearestCode_translate K n C z centre j).mpr hj)
    omega
  · obtain ⟨m, hm⟩ := exists_isNearestCode K n C z (by omega)
    have hmi := honly m hm.1 (hsurvives m hbest herr hthreshold hinterval hm)
    subst hmi
    refine ⟨hm, fun j hj => ?_⟩
    have := honly j hj.1 (hsurvives j hbest herr hthreshold hinterval hj)
    omega
  · have hnear : IsNearestCode K n C z i := by
      refine refine_sound K n C z (Survives K computed lower upper threshold) i hi
        (fun j hj => hsurvives j hbest herr hthreshold hinterval hj) (fun j hj hs => ?_)
      have h1 := (hleast j hj hs).1
      rw [hexact i hi, hexact j hj] at h1
      by_cases h2 : squaredL2 n z (C i) ≤ squaredL2 n z (C j)
      · exact h2
      · have := mul_pos (b := squaredL2 n z (C i) - squaredL2 n z (C j)) hscale (by grind)
        grind
    refine ⟨hnear, fun j hj => ?_⟩
    refine (hleast j hj.1 (hsurvives j hbest herr hthreshold hinterval hj)).2 ?_
    have h1 := hnear.2 j hj.1
    have h2 := hj.2 i hi
    have h3 : squaredL2 n z (C j) = squaredL2 n z (C i) := by grind
    rw [hexact i hi, hexact j hj.1, h3]

end Field

end CertVQ
