import CertVQ.Order

/-!
# Sums over an arbitrary number of terms

In: a function of the place, and how many places there are. Out: its sum, dot products, and the
laws that later proofs use. A vector is a function of the coordinate; its dimension is an argument
of each function that reads it. Imports `CertVQ.Order`.
-/

namespace CertVQ

section Definitions

variable {α : Type} [Add α] [Mul α] [OfNat α 0]

/-- The sum of `f 0, ..., f (n - 1)`, from left to right. -/
def sumTo : Nat → (Nat → α) → α
  | 0, _ => 0
  | n + 1, f => sumTo n f + f n

/-- The dot product of two vectors of dimension `n`. -/
def dot (n : Nat) (x y : Nat → α) : α := sumTo n (fun k => x k * y k)

end Definitions

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- Sums of equal terms are equal. -/
theorem sumTo_congr {n : Nat} {f g : Nat → α} (h : ∀ k, k < n → f k = g k) :
    sumTo n f = sumTo n g := by
  induction n with
  | zero => rfl
  | succ n ih =>
    have h1 := ih (fun k hk => h k (by omega))
    have h2 := h n (by omega)
    simp only [sumTo]; rw [h1, h2]

theorem sumTo_zero (n : Nat) : sumTo n (fun _ => (0 : α)) = 0 := by
  induction n with
  | zero => rfl
  | succ n ih => simp only [sumTo]; grind

theorem sumTo_add (n : Nat) (f g : Nat → α) :
    sumTo n (fun k => f k + g k) = sumTo n f + sumTo n g := by
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih => simp only [sumTo]; grind

theorem sumTo_mul_left (n : Nat) (c : α) (f : Nat → α) :
    sumTo n (fun k => c * f k) = c * sumTo n f := by
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih => simp only [sumTo]; grind

theorem sumTo_append (m n : Nat) (f : Nat → α) :
    sumTo (m + n) f = sumTo m f + sumTo n (fun k => f (m + k)) := by
  induction n with
  | zero => simp only [Nat.add_zero, sumTo]; grind
  | succ n ih => simp only [sumTo]; grind

/-- A sum over `b * n` places is a sum over `b` blocks of `n` places. -/
theorem sumTo_blocks (b n : Nat) (f : Nat → α) :
    sumTo (b * n) f = sumTo b (fun s => sumTo n (fun k => f (s * n + k))) := by
  induction b with
  | zero => simp only [Nat.zero_mul, sumTo]
  | succ b ih => rw [Nat.succ_mul, sumTo_append, ih]; rfl

/-- Two sums may change places. -/
theorem sumTo_comm (m n : Nat) (f : Nat → Nat → α) :
    sumTo m (fun p => sumTo n (fun k => f p k)) = sumTo n (fun k => sumTo m (fun p => f p k)) := by
  induction m with
  | zero => simp only [sumTo]; exact (sumTo_zero n).symm
  | succ m ih => simp only [sumTo]; rw [ih, ← sumTo_add]

/-- A sum that keeps one place has the value at that place. -/
theorem sumTo_single (n i : Nat) (f : Nat → α) (hi : i < n) :
    sumTo n (fun k => if i = k then f k else 0) = f i := by
  induction n with
  | zero => omega
  | succ n ih =>
    simp only [sumTo]
    by_cases h : i = n
    · subst h
      have : sumTo i (fun k => if i = k then f k else 0) = sumTo i (fun _ => (0 : α)) :=
        sumTo_congr (fun k hk => by
          have : i ≠ k := by omega
          simp [this])
      rw [this, sumTo_zero]; simp; grind
    · rw [ih (by omega)]; simp [h]; grind

theorem dot_comm (n : Nat) (x y : Nat → α) : dot n x y = dot n y x :=
  sumTo_congr (fun k _ => by grind)

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A sum grows with its terms. -/
theorem sumTo_le {n : Nat} {f g : Nat → α} (h : ∀ k, k < n → f k ≤ g k) :
    sumTo n f ≤ sumTo n g := by
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih =>
    have h1 := ih (fun k hk => h k (by omega))
    have h2 := h n (by omega)
    simp only [sumTo]; grind

/-- A sum of terms that are not negative is not negative. -/
theorem sumTo_nonneg {n : Nat} {f : Nat → α} (h : ∀ k, k < n → 0 ≤ f k) : 0 ≤ sumTo n f := by
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih =>
    have h1 := ih (fun k hk => h k (by omega))
    have h2 := h n (by omega)
    simp only [sumTo]; grind

theorem dot_self_nonneg (n : Nat) (x : Nat → α) : 0 ≤ dot n x x :=
  sumTo_nonneg (fun k _ => mul_self_nonneg (x k))

end OrderedRing

end CertVQ
