import CertVQ.Sum

/-!
# Squared distances and nearest codes

In: a codebook `C` of `K` code vectors of dimension `n`, and a latent `z`. Out: the specification
`IsNearestCode` and what the seed proves of it, and that sum, mean and score choose the same codes.
Imports `CertVQ.Sum`.
-/

namespace CertVQ

section Definitions

variable {α : Type} [Add α] [Sub α] [Mul α] [OfNat α 0]

/-- The squared Euclidean distance of two vectors of dimension `n`. -/
def squaredL2 (n : Nat) (x y : Nat → α) : α := sumTo n (fun k => (x k - y k) * (x k - y k))

/-- Code `i` is nearest to the latent `z`: no code of the `K` lies nearer. Ties are allowed. -/
def IsNearestCode [LE α] (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat) : Prop :=
  i < K ∧ ∀ j, j < K → squaredL2 n z (C i) ≤ squaredL2 n z (C j)

/-- Code `i` is the nearest code of lowest index: the contract of `certvq.assign`. -/
def IsLowestNearestCode [LE α] (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat) : Prop :=
  IsNearestCode K n C z i ∧ ∀ j, IsNearestCode K n C z j → i ≤ j

end Definitions

section Order

variable {α : Type} [Add α] [Sub α] [Mul α] [OfNat α 0] [LE α]

/-- A nearest code has the least quantization distance of all codes. -/
theorem nearestCode_minimizes_quantization_loss (K n : Nat) (C : Nat → Nat → α) (z : Nat → α)
    (i j : Nat) (hnear : IsNearestCode K n C z i) (hj : j < K) :
    squaredL2 n z (C i) ≤ squaredL2 n z (C j) :=
  hnear.2 j hj

/-- At most one code is the lowest of the nearest codes. -/
theorem lowest_isNearestCode_unique (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i j : Nat)
    (hlowi : IsLowestNearestCode K n C z i) (hlowj : IsLowestNearestCode K n C z j) : i = j :=
  Nat.le_antisymm (hlowi.2 j hlowj.1) (hlowj.2 i hlowi.1)

end Order

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- The distance of a vector to itself is zero. -/
theorem squaredL2_self (n : Nat) (x : Nat → α) : squaredL2 n x x = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => simp only [squaredL2, sumTo] at ih ⊢; grind

/-- The distance is the same in both directions. -/
theorem squaredL2_comm (n : Nat) (x y : Nat → α) : squaredL2 n x y = squaredL2 n y x :=
  sumTo_congr (fun k _ => by grind)

/-- The distance depends on the coordinates below the dimension alone. -/
theorem squaredL2_congr {n : Nat} {x y x' y' : Nat → α} (hx : ∀ k, k < n → x k = x' k)
    (hy : ∀ k, k < n → y k = y' k) : squaredL2 n x y = squaredL2 n x' y' :=
  sumTo_congr (fun k hk => by rw [hx k hk, hy k hk])

theorem squaredL2_eq_dot (n : Nat) (x y : Nat → α) :
    squaredL2 n x y = dot n x x - 2 * dot n x y + dot n y y := by
  induction n with
  | zero => simp only [squaredL2, dot, sumTo]; grind
  | succ n ih => simp only [squaredL2, dot, sumTo] at ih ⊢; grind

/-- Moving latent and code vector alike changes no distance. -/
theorem squaredL2_translate (n : Nat) (x y m : Nat → α) :
    squaredL2 n (fun k => x k - m k) (fun k => y k - m k) = squaredL2 n x y :=
  sumTo_congr (fun k _ => by grind)

/-- If the latent is a code vector, its distance to that code vector is zero. -/
theorem exactCodeMatch_selected_distance_zero (n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat)
    (hmatch : ∀ k, k < n → z k = C i k) : squaredL2 n z (C i) = 0 := by
  rw [squaredL2_congr hmatch (fun k _ => rfl), squaredL2_self]

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A squared distance is not negative. -/
theorem squaredL2_nonneg (n : Nat) (x y : Nat → α) : 0 ≤ squaredL2 n x y :=
  sumTo_nonneg (fun k _ => mul_self_nonneg (x k - y k))

/-- If the latent is a code vector, that code is a nearest one. -/
theorem exactCodeMatch_isNearestCode (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat)
    (hi : i < K) (hmatch : ∀ k, k < n → z k = C i k) : IsNearestCode K n C z i := by
  refine ⟨hi, fun j _ => ?_⟩
  rw [exactCodeMatch_selected_distance_zero n C z i hmatch]
  exact squaredL2_nonneg n z (C j)

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α]

/-- The mean squared error of two vectors of dimension `n`. -/
def mse (n : Nat) (x y : Nat → α) : α := squaredL2 n x y / count n

/-- How well code vector `c` fits the latent `z`, larger being better: `z . c - |c|^2 / 2`. -/
def score (n : Nat) (z c : Nat → α) : α := dot n z c - dot n c c / 2

theorem score_eq (n : Nat) (z c : Nat → α) (htwo : (2 : α) ≠ 0) :
    2 * score n z c = dot n z z - squaredL2 n z c := by
  have h := Lean.Grind.Field.mul_inv_cancel htwo
  rw [squaredL2_eq_dot, score, Lean.Grind.Field.div_eq_mul_inv]
  grind

variable [LE α] [LT α] [Std.LawfulOrderLT α] [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem two_ne_zero : (2 : α) ≠ 0 := by
  have := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  grind

/-- Twice the difference of two scores is the difference of the squared distances. -/
theorem score_sub (n : Nat) (z c c' : Nat → α) :
    2 * (score n z c - score n z c') = squaredL2 n z c' - squaredL2 n z c := by
  have h1 := score_eq n z c two_ne_zero
  have h2 := score_eq n z c' two_ne_zero
  grind

/-- The sum and the mean of the squared differences choose the same codes. -/
theorem isNearestCode_iff_mse (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat)
    (hn : 0 < n) :
    IsNearestCode K n C z i ↔ i < K ∧ ∀ j, j < K → mse n z (C i) ≤ mse n z (C j) := by
  constructor
  · intro h
    exact ⟨h.1, fun j hj => (div_le_div_iff (count_pos hn)).mpr (h.2 j hj)⟩
  · intro h
    exact ⟨h.1, fun j hj => (div_le_div_iff (count_pos hn)).mp (h.2 j hj)⟩

/-- A code is nearest just when its score is greatest. -/
theorem isNearestCode_iff_score (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat) :
    IsNearestCode K n C z i ↔ i < K ∧ ∀ j, j < K → score n z (C j) ≤ score n z (C i) := by
  constructor
  · intro h
    refine ⟨h.1, fun j hj => ?_⟩
    have h1 := h.2 j hj
    have h2 := score_sub n z (C i) (C j)
    grind
  · intro h
    refine ⟨h.1, fun j hj => ?_⟩
    have h1 := h.2 j hj
    have h2 := score_sub n z (C i) (C j)
    grind

end Field

end CertVQ
