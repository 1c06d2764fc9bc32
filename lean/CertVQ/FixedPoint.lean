import CertVQ.CauchySchwarz

/-!
# What quantizing latents and codes can cost a nearest code in score

In: how far quantizing moves a latent and the code vectors, and how far apart the quantized latent
and some quantized code vector are. Out: how far below the score of that one the score of a nearest
code can lie. Imports `CertVQ.CauchySchwarz`.
-/

namespace CertVQ

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

theorem squaredL2_corner (n : Nat) (x y v : Nat → α) :
    squaredL2 n x v =
      squaredL2 n x y + 2 * dot n (fun k => x k - y k) (fun k => y k - v k) + squaredL2 n y v := by
  induction n with
  | zero => simp only [squaredL2, dot, sumTo]; grind
  | succ n ih => simp only [squaredL2, dot, sumTo] at ih ⊢; grind

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The triangle inequality, without roots: if `|x - y| ≤ A` and `|y - v| ≤ B`, then
`|x - v|^2 ≤ |x - y|^2 + 2 A B + B^2`. -/
theorem squaredL2_le_add {n : Nat} {x y v : Nat → α} {A B : α} (hA : 0 ≤ A) (hB : 0 ≤ B)
    (hxy : squaredL2 n x y ≤ A * A) (hyv : squaredL2 n y v ≤ B * B) :
    squaredL2 n x v ≤ squaredL2 n x y + 2 * (A * B) + B * B := by
  have h1 : abs (dot n (fun k => x k - y k) (fun k => y k - v k)) ≤ A * B :=
    abs_dot_le hA hB hxy hyv
  have h2 := le_abs (dot n (fun k => x k - y k) (fun k => y k - v k))
  have h3 := squaredL2_corner n x y v
  grind

/-- Quantizing moves the latent by at most `a` and every code vector by at most `b`. If the
quantized latent is at most `rho` from the quantized code vector `i`, and `j` was nearest before,
then `j` is farther now by at most `4 rho (a + b) + 4 (a + b)^2`, in squared distances. -/
theorem quantized_squaredL2_le (K n : Nat) (C Cq : Nat → Nat → α) (z zq : Nat → α) (a b rho : α)
    (i j : Nat) (ha0 : 0 ≤ a) (hb0 : 0 ≤ b) (hrho0 : 0 ≤ rho) (hi : i < K)
    (ha : squaredL2 n z zq ≤ a * a)
    (hb : ∀ k, k < K → squaredL2 n (C k) (Cq k) ≤ b * b)
    (hrho : squaredL2 n zq (Cq i) ≤ rho * rho) (hnear : IsNearestCode K n C z j) :
    squaredL2 n zq (Cq j) ≤
      squaredL2 n zq (Cq i) + 4 * (rho * (a + b)) + 4 * ((a + b) * (a + b)) := by
  have hbi := hb i hi
  rw [squaredL2_comm] at hbi
  have haback := ha
  rw [squaredL2_comm] at haback
  have h1 := squaredL2_le_add hrho0 hb0 hrho hbi
  have h2 : squaredL2 n (C i) zq ≤ (rho + b) * (rho + b) := by rw [squaredL2_comm]; grind
  have h3 := squaredL2_le_add (by grind) ha0 h2 haback
  rw [squaredL2_comm n (C i) zq, squaredL2_comm n (C i) z] at h3
  have h4 := hnear.2 i hi
  have h5 : squaredL2 n (C j) z ≤ (rho + (a + b)) * (rho + (a + b)) := by
    rw [squaredL2_comm]; grind
  have h6 := squaredL2_le_add (by grind) ha0 h5 ha
  rw [squaredL2_comm n (C j) zq, squaredL2_comm n (C j) z] at h6
  have h7 : squaredL2 n zq (C j) ≤ (rho + (a + b) + a) * (rho + (a + b) + a) := by grind
  have h8 := squaredL2_le_add (by grind) hb0 h7 (hb j hnear.1)
  grind

end OrderedRing

section Field

variable {α : Type} [Lean.Grind.Field α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The same in scores that are computed with an error of at most `w`: the score of `j` is at most
`2 rho (a + b) + 2 (a + b)^2 + 2 w` below that of `i`. -/
theorem quantized_score_gap_le (K n : Nat) (C Cq : Nat → Nat → α) (z zq computed : Nat → α)
    (a b rho w : α) (i j : Nat) (ha0 : 0 ≤ a) (hb0 : 0 ≤ b) (hrho0 : 0 ≤ rho) (hi : i < K)
    (ha : squaredL2 n z zq ≤ a * a)
    (hb : ∀ k, k < K → squaredL2 n (C k) (Cq k) ≤ b * b)
    (hrho : squaredL2 n zq (Cq i) ≤ rho * rho) (hnear : IsNearestCode K n C z j)
    (hw : ∀ k, k < K →
      computed k - score n zq (Cq k) ≤ w ∧ score n zq (Cq k) - computed k ≤ w) :
    computed i - computed j ≤ 2 * rho * (a + b) + 2 * ((a + b) * (a + b)) + 2 * w := by
  have h1 := quantized_squaredL2_le K n C Cq z zq a b rho i j ha0 hb0 hrho0 hi ha hb hrho hnear
  have h2 := score_sub n zq (Cq i) (Cq j)
  have h3 := hw i hi
  have h4 := hw j hnear.1
  have h5 : 2 * (score n zq (Cq i) - score n zq (Cq j)) ≤
      2 * (2 * (rho * (a + b)) + 2 * ((a + b) * (a + b))) := by grind
  have h6 : score n zq (Cq i) - score n zq (Cq j) ≤
      2 * (rho * (a + b)) + 2 * ((a + b) * (a + b)) := by grind
  grind

end Field

end CertVQ
