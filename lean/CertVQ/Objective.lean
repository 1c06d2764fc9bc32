import CertVQ.Order

/-!
# The algebra of weighted objectives

In: the terms of an objective and a weight. Out: what the objective becomes when a term or the
weight vanishes, and that it grows with the weight. Imports `CertVQ.Order`.
-/

namespace CertVQ

/-- The terms of an objective `base + weight * regularizer`. -/
structure WeightedTwoTerm (α : Type) where
  /-- The term that fits the data. -/
  base : α
  /-- The term that the weight multiplies. -/
  regularizer : α

/-- The terms of an objective `base + middle + weight * regularizer`. -/
structure WeightedThreeTerm (α : Type) where
  /-- The term that fits the data. -/
  base : α
  /-- A further term without a weight. -/
  middle : α
  /-- The term that the weight multiplies. -/
  regularizer : α

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- The value of a two-term objective. -/
def weightedTwoTerm (w : α) (t : WeightedTwoTerm α) : α := t.base + w * t.regularizer

/-- The value of a three-term objective. -/
def weightedThreeTerm (w : α) (t : WeightedThreeTerm α) : α := t.base + t.middle + w * t.regularizer

/-- Without a regularizer, a two-term objective is its base. -/
theorem weightedTwoTerm_zero_regularizer (w : α) (t : WeightedTwoTerm α)
    (hreg0 : t.regularizer = 0) : weightedTwoTerm w t = t.base := by
  unfold weightedTwoTerm; grind

/-- At weight zero, a two-term objective is its base. -/
theorem weightedTwoTerm_zero_weight (t : WeightedTwoTerm α) : weightedTwoTerm 0 t = t.base := by
  unfold weightedTwoTerm; grind

/-- Without a regularizer, a three-term objective is base and middle together. -/
theorem weightedThreeTerm_zero_regularizer (w : α) (t : WeightedThreeTerm α)
    (hreg0 : t.regularizer = 0) : weightedThreeTerm w t = t.base + t.middle := by
  unfold weightedThreeTerm; grind

/-- Without middle and regularizer, a three-term objective is its base. -/
theorem weightedThreeTerm_zero_middle_zero_regularizer (w : α) (t : WeightedThreeTerm α)
    (hmid0 : t.middle = 0) (hreg0 : t.regularizer = 0) : weightedThreeTerm w t = t.base := by
  unfold weightedThreeTerm; grind

/-- At weight zero, a three-term objective is base and middle together. -/
theorem weightedThreeTerm_zero_weight (t : WeightedThreeTerm α) :
    weightedThreeTerm 0 t = t.base + t.middle := by
  unfold weightedThreeTerm; grind

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- With a regularizer that is not negative, a two-term objective grows with its weight. -/
theorem weightedTwoTerm_mono_weight (w1 w2 : α) (t : WeightedTwoTerm α) (hw : w1 ≤ w2)
    (hreg : 0 ≤ t.regularizer) : weightedTwoTerm w1 t ≤ weightedTwoTerm w2 t := by
  have := mul_nonneg (a := w2 - w1) (by grind) hreg
  unfold weightedTwoTerm; grind

/-- With a regularizer that is not negative, a three-term objective grows with its weight. -/
theorem weightedThreeTerm_mono_weight (w1 w2 : α) (t : WeightedThreeTerm α) (hw : w1 ≤ w2)
    (hreg : 0 ≤ t.regularizer) : weightedThreeTerm w1 t ≤ weightedThreeTerm w2 t := by
  have := mul_nonneg (a := w2 - w1) (by grind) hreg
  unfold weightedThreeTerm; grind

end OrderedRing

end CertVQ
