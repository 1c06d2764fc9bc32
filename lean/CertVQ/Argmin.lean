import CertVQ.Distance

/-!
# The argmin, and that it finds the lowest nearest code

In: a function of the place with values in any linear order that can be decided, so that the
program runs on `Int` as it stands, and how many places there are. Out: the place of the least
value, found in one pass from left to right, and the theorem that it is the lowest nearest code.
Imports `CertVQ.Distance`.
-/

namespace CertVQ

section Program

variable {β : Type} [LT β] [DecidableLT β]

/-- Look at `left` more places from `k` on; the place held gives way to a strictly smaller value. -/
def argminLoop (f : Nat → β) : (left k best : Nat) → (value : β) → Nat
  | 0, _, best, _ => best
  | left + 1, k, best, value =>
    let next := f k
    if next < value then argminLoop f left (k + 1) k next
    else argminLoop f left (k + 1) best value

/-- The lowest place among `0, ..., K - 1` at which `f` is least; 0 when `K = 0`. -/
def argmin (f : Nat → β) : (K : Nat) → Nat
  | 0 => 0
  | K + 1 => argminLoop f K 1 0 (f 0)

end Program

section Correctness

variable {β : Type} [LE β] [LT β] [DecidableLT β] [Std.LawfulOrderLT β] [Std.IsLinearOrder β]

theorem argminLoop_spec (f : Nat → β) (left : Nat) : ∀ k best : Nat, best < k →
    (∀ j, j < k → f best ≤ f j) → (∀ j, j < best → f best < f j) →
    argminLoop f left k best (f best) < k + left ∧
      (∀ j, j < k + left → f (argminLoop f left k best (f best)) ≤ f j) ∧
      (∀ j, j < argminLoop f left k best (f best) →
        f (argminLoop f left k best (f best)) < f j) := by
  induction left with
  | zero =>
    intro k best hbest hle hlt
    exact ⟨hbest, hle, hlt⟩
  | succ left ih =>
    intro k best hbest hle hlt
    simp only [argminLoop]
    have hplaces : k + (left + 1) = k + 1 + left := by omega
    rw [hplaces]
    by_cases h : f k < f best
    · rw [if_pos h]
      refine ih (k + 1) k (by omega) (fun j hj => ?_) (fun j hj => ?_)
      · by_cases hjk : j = k
        · subst hjk; exact Std.le_refl _
        · have := hle j (by omega); grind
      · have := hle j hj; grind
    · rw [if_neg h]
      refine ih (k + 1) best (by omega) (fun j hj => ?_) hlt
      by_cases hjk : j = k
      · subst hjk; grind
      · exact hle j (by omega)

/-- The argmin lies in range, its value is least, and every earlier value is greater. -/
theorem argmin_spec (f : Nat → β) (K : Nat) (hK : 0 < K) :
    argmin f K < K ∧ (∀ j, j < K → f (argmin f K) ≤ f j) ∧
      (∀ j, j < argmin f K → f (argmin f K) < f j) := by
  cases K with
  | zero => omega
  | succ K =>
    have h := argminLoop_spec f K 1 0 (by omega)
      (fun j hj => by
        have : j = 0 := by omega
        subst this; exact Std.le_refl _)
      (fun j hj => by omega)
    have hplaces : 1 + K = K + 1 := by omega
    rw [hplaces] at h
    exact h

end Correctness

section Codes

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The argmin from left to right with strict `<` returns a nearest code, and the lowest one. -/
theorem argmin_isNearestCode [DecidableLT α] (K n : Nat) (C : Nat → Nat → α) (z : Nat → α)
    (hK : 0 < K) : IsLowestNearestCode K n C z (argmin (fun j => squaredL2 n z (C j)) K) := by
  have h := argmin_spec (fun j => squaredL2 n z (C j)) K hK
  refine ⟨⟨h.1, h.2.1⟩, fun j hj => ?_⟩
  by_cases hlt : j < argmin (fun j => squaredL2 n z (C j)) K
  · have h1 := h.2.2 j hlt
    have h2 := hj.2 _ h.1
    grind
  · omega

/-- Every codebook that is not empty has a nearest code. -/
theorem exists_isNearestCode (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (hK : 0 < K) :
    ∃ i, IsNearestCode K n C z i := by
  classical
  exact ⟨_, (argmin_isNearestCode K n C z hK).1⟩

end Codes

end CertVQ
