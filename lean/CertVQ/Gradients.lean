import CertVQ.Distance

/-!
# The cotangents of the straight-through estimator

In: a codebook, a latent, its code, the cotangent `g` at the decoder's input and the commitment
weight. Out: the exact expansion of the training objective, whose linear part names the cotangents
that `certvq.spec.training_gradients` returns. Imports `CertVQ.Distance`.
-/

namespace CertVQ

section Definitions

variable {α : Type} [Lean.Grind.Field α]

/-- The training objective as a function of the latent `x` and the codebook `C`. The decoder is
linear with cotangent `g`; `zs` and `Cs` are the copies held fixed by the stopped gradients. -/
def straightThroughObjective (n : Nat) (g : Nat → α) (beta : α) (i : Nat) (zs : Nat → α)
    (Cs : Nat → Nat → α) (x : Nat → α) (C : Nat → Nat → α) : α :=
  dot n g x + mse n zs (C i) + beta * mse n x (Cs i)

/-- The codebook with row `j` moved by `t` times `e`. -/
def moveCode (C : Nat → Nat → α) (j : Nat) (t : α) (e : Nat → α) : Nat → Nat → α :=
  fun r k => if r = j then C r k + t * e k else C r k

/-- The cotangent at the encoder's output: `g + beta * (2 / n) * (z - c)`. -/
def encoderCotangent (n : Nat) (g : Nat → α) (beta : α) (C : Nat → Nat → α) (z : Nat → α)
    (i : Nat) : Nat → α :=
  fun k => g k + beta * (2 / count n * (z k - C i k))

/-- The cotangent at code vector `j`: `(2 / n) * (c - z)` at the selected code, 0 elsewhere. -/
def codeCotangent (n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i j : Nat) : Nat → α :=
  fun k => if j = i then 2 / count n * (C i k - z k) else 0

end Definitions

section Field

variable {α : Type} [Lean.Grind.Field α]

theorem squaredL2_move_left (n : Nat) (x y e : Nat → α) (t : α) :
    squaredL2 n (fun k => x k + t * e k) y =
      squaredL2 n x y + t * (2 * dot n (fun k => x k - y k) e) + t * t * dot n e e := by
  induction n with
  | zero => simp only [squaredL2, dot, sumTo]; grind
  | succ n ih => simp only [squaredL2, dot, sumTo] at ih ⊢; grind

theorem dot_scaled (n : Nat) (c : α) (x e : Nat → α) :
    dot n (fun k => c * x k) e = c * dot n x e := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih => simp only [dot, sumTo] at ih ⊢; grind

theorem dot_add_left (n : Nat) (x y e : Nat → α) :
    dot n (fun k => x k + y k) e = dot n x e + dot n y e := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih => simp only [dot, sumTo] at ih ⊢; grind

theorem dot_move_right (n : Nat) (g x e : Nat → α) (t : α) :
    dot n g (fun k => x k + t * e k) = dot n g x + t * dot n g e := by
  induction n with
  | zero => simp only [dot, sumTo]; grind
  | succ n ih => simp only [dot, sumTo] at ih ⊢; grind

theorem squaredL2_zero (n : Nat) (e : Nat → α) : squaredL2 n e (fun _ => 0) = dot n e e :=
  sumTo_congr (fun k _ => by grind)

/-- The exact change of the mean squared error along a line. -/
theorem mse_move_left (n : Nat) (x y e : Nat → α) (t : α) :
    mse n (fun k => x k + t * e k) y - mse n x y =
      t * dot n (fun k => 2 / count n * (x k - y k)) e + t * t * mse n e (fun _ => 0) := by
  rw [dot_scaled]
  unfold mse
  rw [squaredL2_move_left, squaredL2_zero]
  simp only [Lean.Grind.Field.div_eq_mul_inv]
  grind

/-- The cotangents of the straight-through estimator. Moving the latent by `t e`, or any code vector
by `t e`, changes the objective by `t` times the dot product of the cotangent with `e`, and a term
in `t * t`: the cotangents are its exact derivatives. Codes that are not selected have cotangent
zero, and moving them changes nothing. -/
theorem straightThrough_gradients (n : Nat) (g : Nat → α) (beta : α) (C : Nat → Nat → α)
    (z : Nat → α) (i : Nat) (e : Nat → α) (t : α) :
    straightThroughObjective n g beta i z C (fun k => z k + t * e k) C
        - straightThroughObjective n g beta i z C z C
      = t * dot n (encoderCotangent n g beta C z i) e + t * t * (beta * mse n e (fun _ => 0))
    ∧ straightThroughObjective n g beta i z C z (moveCode C i t e)
        - straightThroughObjective n g beta i z C z C
      = t * dot n (codeCotangent n C z i i) e + t * t * mse n e (fun _ => 0)
    ∧ ∀ j, j ≠ i →
      straightThroughObjective n g beta i z C z (moveCode C j t e)
          = straightThroughObjective n g beta i z C z C
        ∧ ∀ k, codeCotangent n C z i j k = 0 := by
  refine ⟨?_, ?_, ?_⟩
  · have h1 := mse_move_left n z (C i) e t
    have h2 := dot_move_right n g z e t
    have h3 : dot n (encoderCotangent n g beta C z i) e =
        dot n g e + beta * dot n (fun k => 2 / count n * (z k - C i k)) e := by
      unfold encoderCotangent
      rw [dot_add_left, dot_scaled]
    unfold straightThroughObjective
    rw [h2, h3]
    grind
  · have h1 := mse_move_left n (C i) z e t
    have h2 : moveCode C i t e i = fun k => C i k + t * e k := by
      funext k; simp [moveCode]
    have h3 : codeCotangent n C z i i = fun k => 2 / count n * (C i k - z k) := by
      funext k; simp [codeCotangent]
    have h4 : ∀ x : Nat → α, mse n z x = mse n x z := fun x => by
      unfold mse; rw [squaredL2_comm]
    unfold straightThroughObjective
    rw [h2, h3, h4, h4]
    grind
  · intro j hj
    refine ⟨?_, fun k => by simp [codeCotangent, hj]⟩
    have h : moveCode C j t e i = C i := by
      funext k
      have : ¬ i = j := fun h => hj h.symm
      simp [moveCode, this]
    unfold straightThroughObjective
    rw [h]

end Field

end CertVQ
