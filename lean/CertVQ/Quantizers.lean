import CertVQ.Distance

/-!
# Quantizers whose nearest code is found without a search

In: codebooks with structure: products of codebooks, grids, corners of a cube, unit vectors. Out:
that the code chosen in each part, or by dot product, is the nearest code of the whole. A code of a
product is one number in mixed radix, whose digit `b` is the code of block `b`. Imports
`CertVQ.Distance`.
-/

namespace CertVQ

/-- The number of codes of a product of `B` codebooks of `M 0, M 1, ...` codes. -/
def radix (M : Nat → Nat) : Nat → Nat
  | 0 => 1
  | B + 1 => radix M B * M B

/-- Digit `b` of a code in the mixed radix `M`. -/
def digit (M : Nat → Nat) (I b : Nat) : Nat := I / radix M b % M b

theorem radix_pos {M : Nat → Nat} {B : Nat} (h : 0 < radix M B) : ∀ b, b < B → 0 < M b := by
  induction B with
  | zero => intro b hb; omega
  | succ B ih =>
    intro b hb
    simp only [radix] at h
    have h1 : 0 < radix M B := Nat.pos_of_ne_zero (fun h0 => by rw [h0, Nat.zero_mul] at h; omega)
    have h2 : 0 < M B := Nat.pos_of_ne_zero (fun h0 => by rw [h0, Nat.mul_zero] at h; omega)
    by_cases hbB : b = B
    · subst hbB; exact h2
    · exact ih h1 b (by omega)

section Definitions

variable {α : Type}

/-- The code vectors of a product: block `b` of vector `I` is the vector of codebook `C b` that
digit `b` of `I` names. -/
def productCodebook (n : Nat) (M : Nat → Nat) (C : Nat → Nat → Nat → α) : Nat → Nat → α :=
  fun I t => C (t / n) (digit M I (t / n)) (t % n)

/-- The points of a grid: coordinate `k` of point `I` is the level of dimension `k` that digit `k`
of `I` names. -/
def gridCodebook (M : Nat → Nat) (level : Nat → Nat → α) : Nat → Nat → α :=
  fun I k => level k (digit M I k)

/-- The corners of a cube: coordinate `k` of corner `I` is `s` if bit `k` of `I` is 1, else `-s`. -/
def signCodebook [Neg α] (s : α) : Nat → Nat → α :=
  fun I k => if I / 2 ^ k % 2 = 1 then s else -s

end Definitions

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

theorem squaredL2_productCodebook (B n : Nat) (M : Nat → Nat) (C : Nat → Nat → Nat → α)
    (z : Nat → α) (I : Nat) :
    squaredL2 (B * n) z (productCodebook n M C I) =
      sumTo B (fun b => squaredL2 n (fun k => z (b * n + k)) (C b (digit M I b))) := by
  unfold squaredL2
  rw [sumTo_blocks]
  refine sumTo_congr (fun b _ => sumTo_congr (fun k hk => ?_))
  have h1 : (b * n + k) / n = b := by
    rw [Nat.mul_comm b n, Nat.mul_add_div (by omega), Nat.div_eq_of_lt hk, Nat.add_zero]
  have h2 : (b * n + k) % n = k := by
    rw [Nat.mul_comm b n, Nat.mul_add_mod, Nat.mod_eq_of_lt hk]
  simp only [productCodebook, h1, h2]

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- Product quantization: a code that is nearest in every block is nearest in the product. -/
theorem product_isNearestCode (B n : Nat) (M : Nat → Nat) (C : Nat → Nat → Nat → α) (z : Nat → α)
    (i : Nat) (hi : i < radix M B)
    (hblock : ∀ b, b < B →
      IsNearestCode (M b) n (C b) (fun k => z (b * n + k)) (digit M i b)) :
    IsNearestCode (radix M B) (B * n) (productCodebook n M C) z i := by
  refine ⟨hi, fun j _ => ?_⟩
  rw [squaredL2_productCodebook, squaredL2_productCodebook]
  refine sumTo_le (fun b hb => ?_)
  have h := hblock b hb
  exact h.2 (digit M j b) (Nat.mod_lt _ (by have := h.1; omega))

/-- Finite scalar quantization: the level nearest in every dimension is nearest in the grid. -/
theorem grid_round_isNearestCode (n : Nat) (M : Nat → Nat) (level : Nat → Nat → α) (z : Nat → α)
    (i : Nat) (hi : i < radix M n)
    (hround : ∀ k, k < n → ∀ l, l < M k →
      (z k - level k (digit M i k)) * (z k - level k (digit M i k)) ≤
        (z k - level k l) * (z k - level k l)) :
    IsNearestCode (radix M n) n (gridCodebook M level) z i := by
  refine ⟨hi, fun j _ => sumTo_le (fun k hk => ?_)⟩
  exact hround k hk (digit M j k) (Nat.mod_lt _ (radix_pos (by omega) k hk))

/-- Lookup-free quantization: the corner of the cube that has the latent's signs is nearest. Where
the latent is zero, either sign will do. -/
theorem sign_isNearestCode (n : Nat) (s : α) (z : Nat → α) (i : Nat) (hi : i < 2 ^ n) (hs : 0 ≤ s)
    (hpos : ∀ k, k < n → i / 2 ^ k % 2 = 1 → 0 ≤ z k)
    (hneg : ∀ k, k < n → i / 2 ^ k % 2 ≠ 1 → z k ≤ 0) :
    IsNearestCode (2 ^ n) n (signCodebook s) z i := by
  refine ⟨hi, fun j _ => sumTo_le (fun k hk => ?_)⟩
  simp only [signCodebook]
  by_cases h1 : i / 2 ^ k % 2 = 1
  · have h2 := mul_nonneg hs (hpos k hk h1)
    rw [if_pos h1]
    split <;> grind
  · have h2 := mul_nonneg (b := -z k) hs (by have := hneg k hk h1; grind)
    rw [if_neg h1]
    split <;> grind

/-- Cosine similarity: among unit code vectors, nearest means greatest dot product. -/
theorem cosine_isNearestCode (K n : Nat) (C : Nat → Nat → α) (z : Nat → α) (i : Nat) (hi : i < K)
    (hunit : ∀ j, j < K → dot n (C j) (C j) = 1) :
    IsNearestCode K n C z i ↔ ∀ j, j < K → dot n z (C j) ≤ dot n z (C i) := by
  have h : ∀ j, j < K → squaredL2 n z (C j) = dot n z z - 2 * dot n z (C j) + 1 := fun j hj => by
    rw [squaredL2_eq_dot, hunit j hj]
  have h2 := h i hi
  constructor
  · intro hnear j hj
    have h1 := hnear.2 j hj
    have h3 := h j hj
    grind
  · intro hdot
    refine ⟨hi, fun j hj => ?_⟩
    have h1 := hdot j hj
    have h3 := h j hj
    grind

end OrderedRing

end CertVQ
