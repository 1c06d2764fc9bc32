import CertVQ.Distance

/-!
# Errors through a maximum

In: exact and computed vectors at several places, and their greatest entries. Out: how far apart the
vectors of the greatest entries are. Imports `CertVQ.Distance`.
-/

namespace CertVQ

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

theorem le_sumTo {n : Nat} {f : Nat → α} (hf : ∀ k, k < n → 0 ≤ f k) {i : Nat} (hi : i < n) :
    f i ≤ sumTo n f := by
  induction n with
  | zero => omega
  | succ n ih =>
    have h1 := hf n (by omega)
    simp only [sumTo]
    by_cases h : i = n
    · have h2 := sumTo_nonneg (n := n) (f := f) (fun k hk => hf k (by omega))
      subst h; grind
    · have h2 := ih (fun k hk => hf k (by omega)) (by omega)
      grind

theorem mul_self_le_of_abs {a b : α} (h0 : 0 ≤ a) (h : a ≤ b) : a * a ≤ b * b :=
  mul_le_mul h h h0 (Std.le_trans h0 h)

/-- The entry `y k` is the greatest of those at the `T` places. -/
def IsMax (T : Nat) (x : Nat → Nat → α) (y : Nat → α) (k : Nat) : Prop :=
  (∀ t, t < T → x t k ≤ y k) ∧ ∃ t, t < T ∧ y k = x t k

/-- Max pooling: the squared error of the greatest entries is at most the sum of the squared errors
at all places. -/
theorem maximum_error_le (T n : Nat) (x xc : Nat → Nat → α) (y yc error : Nat → α)
    (hmax : ∀ k, k < n → IsMax T x y k) (hmaxc : ∀ k, k < n → IsMax T xc yc k)
    (herr : ∀ t, t < T → squaredL2 n (xc t) (x t) ≤ error t * error t) :
    squaredL2 n yc y ≤ sumTo T (fun t => error t * error t) := by
  have h1 : squaredL2 n yc y ≤ sumTo n (fun k =>
      sumTo T (fun t => (xc t k - x t k) * (xc t k - x t k))) :=
    sumTo_le (fun k hk => by
      have hle : ∀ t, t < T → (xc t k - x t k) * (xc t k - x t k) ≤
          sumTo T (fun t => (xc t k - x t k) * (xc t k - x t k)) := fun t ht =>
        le_sumTo (f := fun t => (xc t k - x t k) * (xc t k - x t k))
          (fun t _ => mul_self_nonneg (xc t k - x t k)) ht
      obtain ⟨t, ht, hyt⟩ := (hmax k hk).2
      obtain ⟨s, hs, hys⟩ := (hmaxc k hk).2
      have e1 := (hmax k hk).1 s hs
      have e2 := (hmaxc k hk).1 t ht
      by_cases hle' : y k ≤ yc k
      · have e3 := mul_self_le_of_abs (a := yc k - y k) (b := xc s k - x s k) (by grind) (by grind)
        exact Std.le_trans e3 (hle s hs)
      · have e3 := mul_self_le_of_abs (a := y k - yc k) (b := x t k - xc t k) (by grind) (by grind)
        have e4 := hle t ht
        grind)
  rw [sumTo_comm] at h1
  have h2 : sumTo T (fun t => sumTo n (fun k => (xc t k - x t k) * (xc t k - x t k))) ≤
      sumTo T (fun t => error t * error t) :=
    sumTo_le (fun t ht => herr t ht)
  exact Std.le_trans h1 h2

end CertVQ
