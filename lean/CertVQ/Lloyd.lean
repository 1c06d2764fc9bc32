import CertVQ.Distance

/-!
# Residual quantization, and steps that never raise the distortion

In: a sequence of codebooks, or a batch of points with fixed codes, and with weights. Out: that
residuals telescope, what weighted means do to a distortion, and that moving code vectors to the
means of their points, or a part of the way, never raises it. Imports `CertVQ.Distance`.
-/

namespace CertVQ

section Definitions

variable {α : Type} [Lean.Grind.CommRing α]

/-- What is left of the latent after `S` stages; stage `s` subtracts its selected code vector. -/
def residual (C : Nat → Nat → Nat → α) (codes : Nat → Nat) (z : Nat → α) : Nat → Nat → α
  | 0 => z
  | S + 1 => fun k => residual C codes z S k - C S (codes S) k

/-- The distortion of a batch of `N` points `x p` with codes `codes p`. -/
def distortion (N n : Nat) (x : Nat → Nat → α) (codes : Nat → Nat) (C : Nat → Nat → α) : α :=
  sumTo N (fun p => squaredL2 n (x p) (C (codes p)))

/-- How many of the `N` points have code `j`. -/
def memberCount (N : Nat) (codes : Nat → Nat) (j : Nat) : α :=
  sumTo N (fun p => if codes p = j then 1 else 0)

/-- The sum of coordinate `k` of the points that have code `j`. -/
def memberSum (N : Nat) (x : Nat → Nat → α) (codes : Nat → Nat) (j k : Nat) : α :=
  sumTo N (fun p => if codes p = j then x p k else 0)

/-- Row `j` of `M` is the mean of the points that have code `j`; it is arbitrary if none has. -/
def IsMean (K N n : Nat) (x : Nat → Nat → α) (codes : Nat → Nat) (M : Nat → Nat → α) : Prop :=
  ∀ j, j < K → ∀ k, k < n → memberCount N codes j * M j k = memberSum N x codes j k

/-- The distortion of a batch whose point `p` has the weight `weight p`. -/
def weightedDistortion (N n : Nat) (weight : Nat → α) (x : Nat → Nat → α) (codes : Nat → Nat)
    (C : Nat → Nat → α) : α :=
  sumTo N (fun p => weight p * squaredL2 n (x p) (C (codes p)))

/-- The weight of the points that have code `j`. -/
def memberWeight (N : Nat) (weight : Nat → α) (codes : Nat → Nat) (j : Nat) : α :=
  sumTo N (fun p => if codes p = j then weight p else 0)

/-- The weighted sum of coordinate `k` of the points that have code `j`. -/
def weightedSum (N : Nat) (weight : Nat → α) (x : Nat → Nat → α) (codes : Nat → Nat)
    (j k : Nat) : α :=
  sumTo N (fun p => if codes p = j then weight p * x p k else 0)

/-- Row `j` of `M` is the weighted mean of the points that have code `j`; it is arbitrary where
their weight is 0. -/
def IsWeightedMean (K N n : Nat) (weight : Nat → α) (x : Nat → Nat → α) (codes : Nat → Nat)
    (M : Nat → Nat → α) : Prop :=
  ∀ j, j < K → ∀ k, k < n →
    memberWeight N weight codes j * M j k = weightedSum N weight x codes j k

end Definitions

section Ring

variable {α : Type} [Lean.Grind.CommRing α]

/-- Residual quantization: the latent less the sum of the selected code vectors is the last
residual. -/
theorem residual_telescopes (C : Nat → Nat → Nat → α) (codes : Nat → Nat) (z : Nat → α)
    (S k : Nat) : z k - sumTo S (fun s => C s (codes s) k) = residual C codes z S k := by
  induction S with
  | zero => simp only [sumTo, residual]; grind
  | succ S ih => simp only [sumTo, residual]; grind

theorem squaredL2_through (n : Nat) (x m c : Nat → α) :
    squaredL2 n x c = squaredL2 n x m + squaredL2 n m c
      + 2 * sumTo n (fun k => (x k - m k) * (m k - c k)) := by
  induction n with
  | zero => simp only [squaredL2, sumTo]; grind
  | succ n ih => simp only [squaredL2, sumTo] at ih ⊢; grind

theorem sumTo_member (N : Nat) (weight x : Nat → α) (codes : Nat → Nat) (j : Nat) (m w : α) :
    sumTo N (fun p => if codes p = j then weight p * ((x p - m) * w) else 0) =
      (sumTo N (fun p => if codes p = j then weight p * x p else 0)
        - sumTo N (fun p => if codes p = j then weight p else 0) * m) * w := by
  induction N with
  | zero => simp only [sumTo]; grind
  | succ N ih =>
    simp only [sumTo]
    by_cases h : codes N = j
    · simp only [h, if_true]; grind
    · simp only [h, if_false]; grind

/-- Weighted deviations from the means, times anything that depends on the code alone, add to
zero. -/
theorem sumTo_deviation (K N n : Nat) (weight : Nat → α) (x : Nat → Nat → α) (codes : Nat → Nat)
    (M : Nat → Nat → α) (w : Nat → α) (k : Nat) (hk : k < n) (hcodes : ∀ p, p < N → codes p < K)
    (hmean : IsWeightedMean K N n weight x codes M) :
    sumTo N (fun p => weight p * ((x p k - M (codes p) k) * w (codes p))) = 0 := by
  have h1 : ∀ p, p < N → weight p * ((x p k - M (codes p) k) * w (codes p)) =
      sumTo K (fun j => if codes p = j then weight p * ((x p k - M j k) * w j) else 0) :=
    fun p hp =>
      (sumTo_single K (codes p) (fun j => weight p * ((x p k - M j k) * w j)) (hcodes p hp)).symm
  rw [sumTo_congr h1, sumTo_comm]
  have h2 : ∀ j, j < K →
      sumTo N (fun p => if codes p = j then weight p * ((x p k - M j k) * w j) else 0) = 0 :=
    fun j hj => by
      have h3 := hmean j hj k hk
      unfold memberWeight weightedSum at h3
      rw [sumTo_member N weight (fun p => x p k) codes j (M j k) (w j), h3]
      grind
  rw [sumTo_congr h2, sumTo_zero]

/-- The weighted distortion of a codebook is that of the means, and what separates the two. -/
theorem weightedDistortion_through_mean (K N n : Nat) (weight : Nat → α) (x : Nat → Nat → α)
    (codes : Nat → Nat) (M C : Nat → Nat → α) (hcodes : ∀ p, p < N → codes p < K)
    (hmean : IsWeightedMean K N n weight x codes M) :
    weightedDistortion N n weight x codes C = weightedDistortion N n weight x codes M
      + sumTo N (fun p => weight p * squaredL2 n (M (codes p)) (C (codes p))) := by
  have hcross : sumTo N (fun p => sumTo n (fun k =>
      weight p * ((x p k - M (codes p) k) * (M (codes p) k - C (codes p) k)))) = 0 := by
    rw [sumTo_comm]
    have h : ∀ k, k < n → sumTo N (fun p =>
        weight p * ((x p k - M (codes p) k) * (M (codes p) k - C (codes p) k))) = 0 := fun k hk =>
      sumTo_deviation K N n weight x codes M (fun j => M j k - C j k) k hk hcodes hmean
    rw [sumTo_congr h, sumTo_zero]
  have hpoint : ∀ p, p < N → weight p * squaredL2 n (x p) (C (codes p)) =
      weight p * squaredL2 n (x p) (M (codes p))
        + weight p * squaredL2 n (M (codes p)) (C (codes p))
        + 2 * sumTo n (fun k =>
          weight p * ((x p k - M (codes p) k) * (M (codes p) k - C (codes p) k))) := fun p _ => by
    rw [squaredL2_through n (x p) (M (codes p)) (C (codes p)), sumTo_mul_left]
    grind
  unfold weightedDistortion
  rw [sumTo_congr hpoint, sumTo_add, sumTo_add, sumTo_mul_left, hcross]
  grind

/-- The same where all points have weight 1. -/
theorem distortion_through_mean (K N n : Nat) (x : Nat → Nat → α) (codes : Nat → Nat)
    (M C : Nat → Nat → α) (hcodes : ∀ p, p < N → codes p < K) (hmean : IsMean K N n x codes M) :
    distortion N n x codes C = distortion N n x codes M
      + sumTo N (fun p => squaredL2 n (M (codes p)) (C (codes p))) := by
  have hone : ∀ f : Nat → α, sumTo N (fun p => 1 * f p) = sumTo N f := fun f =>
    sumTo_congr (fun p _ => by grind)
  have hweighted : IsWeightedMean K N n (fun _ => 1) x codes M := fun j hj k hk => by
    have h := hmean j hj k hk
    unfold memberCount memberSum at h
    unfold memberWeight weightedSum
    rw [h]
    exact sumTo_congr (fun p _ => by split <;> grind)
  have h := weightedDistortion_through_mean K N n (fun _ => 1) x codes M C hcodes hweighted
  unfold weightedDistortion at h
  rw [hone, hone, hone] at h
  exact h

theorem squaredL2_step (n : Nat) (m c : Nat → α) (eta : α) :
    squaredL2 n m (fun k => c k + eta * (m k - c k)) =
      (1 - eta) * (1 - eta) * squaredL2 n m c := by
  unfold squaredL2
  rw [← sumTo_mul_left]
  exact sumTo_congr (fun k _ => by grind)

end Ring

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- A Lloyd step: for fixed codes, the means of the members have the least distortion of all. -/
theorem mean_minimises_distortion (K N n : Nat) (x : Nat → Nat → α) (codes : Nat → Nat)
    (M C : Nat → Nat → α) (hcodes : ∀ p, p < N → codes p < K) (hmean : IsMean K N n x codes M) :
    distortion N n x codes M ≤ distortion N n x codes C := by
  have h1 := distortion_through_mean K N n x codes M C hcodes hmean
  have h2 : 0 ≤ sumTo N (fun p => squaredL2 n (M (codes p)) (C (codes p))) :=
    sumTo_nonneg (fun p _ => squaredL2_nonneg n _ _)
  grind

/-- A step of `eta` from the code vectors towards the means, as a moving average makes it, never
raises the distortion for fixed codes. -/
theorem ema_step_distortion_le (K N n : Nat) (x : Nat → Nat → α) (codes : Nat → Nat)
    (M C : Nat → Nat → α) (eta : α) (heta0 : 0 ≤ eta) (heta1 : eta ≤ 1)
    (hcodes : ∀ p, p < N → codes p < K) (hmean : IsMean K N n x codes M) :
    distortion N n x codes (fun j k => C j k + eta * (M j k - C j k)) ≤
      distortion N n x codes C := by
  have h1 := distortion_through_mean K N n x codes M C hcodes hmean
  have h2 := distortion_through_mean K N n x codes M (fun j k => C j k + eta * (M j k - C j k))
    hcodes hmean
  have hone := Lean.Grind.OrderedRing.zero_lt_one (R := α)
  have h3 : sumTo N (fun p => squaredL2 n (M (codes p))
        (fun k => C (codes p) k + eta * (M (codes p) k - C (codes p) k))) ≤
      sumTo N (fun p => squaredL2 n (M (codes p)) (C (codes p))) :=
    sumTo_le (fun p _ => by
      rw [squaredL2_step]
      have := mul_nonneg (mul_nonneg (a := eta) (b := 2 - eta) heta0 (by grind))
        (squaredL2_nonneg n (M (codes p)) (C (codes p)))
      grind)
  grind

end OrderedRing

end CertVQ
