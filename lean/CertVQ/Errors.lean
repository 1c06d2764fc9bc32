import CertVQ.FixedPoint
import CertVQ.Stability

/-!
# How the errors of an operation's inputs pass on to its output, and when the code is canonical

In: computed and exact values, and upper bounds of the Euclidean errors of the inputs. Out: an
upper bound of the error of the output, for each kind of operation; and that a latent whose error
is below the stability radius has the code of the exact one. Imports the triangle inequality and
`CertVQ.Stability`.
-/

namespace CertVQ

section OrderedRing

variable {α : Type} [Lean.Grind.CommRing α] [LE α] [LT α] [Std.LawfulOrderLT α]
  [Std.IsLinearOrder α] [Lean.Grind.OrderedRing α]

/-- The triangle inequality, with upper bounds of the distances. -/
theorem squaredL2_triangle {n : Nat} {x y v : Nat → α} {A B : α} (hA : 0 ≤ A) (hB : 0 ≤ B)
    (hxy : squaredL2 n x y ≤ A * A) (hyv : squaredL2 n y v ≤ B * B) :
    squaredL2 n x v ≤ (A + B) * (A + B) := by
  have := squaredL2_le_add hA hB hxy hyv
  grind

/-- An operation that is `L`-Lipschitz passes on `L` times the error of its input, besides the
error `r` that its own arithmetic makes on the input that it was given. -/
theorem error_comp_le (n m : Nat) (f : (Nat → α) → Nat → α) (x xc y : Nat → α) (e L r : α)
    (he0 : 0 ≤ e) (hL0 : 0 ≤ L) (hr0 : 0 ≤ r) (hx : squaredL2 n xc x ≤ e * e)
    (hlip : ∀ v w, squaredL2 m (f v) (f w) ≤ L * L * squaredL2 n v w)
    (hround : squaredL2 m y (f xc) ≤ r * r) :
    squaredL2 m y (f x) ≤ (L * e + r) * (L * e + r) := by
  have h1 := hlip xc x
  have h2 := mul_nonneg (mul_self_nonneg L) (b := e * e - squaredL2 n xc x) (by grind)
  have h3 := squaredL2_triangle hr0 (mul_nonneg hL0 he0) hround
    (show squaredL2 m (f xc) (f x) ≤ L * e * (L * e) by grind)
  grind

/-- The error of a sum is at most the sum of the errors. -/
theorem sum_error_le (n : Nat) (x xc y yc : Nat → α) (e g : α) (he0 : 0 ≤ e) (hg0 : 0 ≤ g)
    (hdx : squaredL2 n xc x ≤ e * e) (hdy : squaredL2 n yc y ≤ g * g) :
    squaredL2 n (fun k => xc k + yc k) (fun k => x k + y k) ≤ (e + g) * (e + g) := by
  have h1 : squaredL2 n (fun k => xc k + yc k) (fun k => x k + yc k) = squaredL2 n xc x :=
    sumTo_congr (fun k _ => by grind)
  have h2 : squaredL2 n (fun k => x k + yc k) (fun k => x k + y k) = squaredL2 n yc y :=
    sumTo_congr (fun k _ => by grind)
  exact squaredL2_triangle he0 hg0 (by rw [h1]; exact hdx) (by rw [h2]; exact hdy)

theorem sumTo_mul_self_le_scaled {n : Nat} {x w : Nat → α} {A B : α}
    (hx : ∀ k, k < n → x k * x k ≤ A * A) (hw : sumTo n (fun k => w k * w k) ≤ B * B) :
    sumTo n (fun k => (x k * w k) * (x k * w k)) ≤ A * B * (A * B) := by
  have h1 : sumTo n (fun k => (x k * w k) * (x k * w k)) ≤
      sumTo n (fun k => A * A * (w k * w k)) :=
    sumTo_le (fun k hk => by
      have := mul_nonneg (a := A * A - x k * x k) (by have := hx k hk; grind)
        (mul_self_nonneg (w k))
      grind)
  rw [sumTo_mul_left] at h1
  have h2 := mul_nonneg (mul_self_nonneg A) (b := B * B - sumTo n (fun k => w k * w k)) (by grind)
  grind

theorem sumTo_mul_self_le_mul (n : Nat) (x w : Nat → α) :
    sumTo n (fun k => (x k * w k) * (x k * w k)) ≤
      sumTo n (fun k => x k * x k) * sumTo n (fun k => w k * w k) := by
  induction n with
  | zero => simp only [sumTo]; grind
  | succ n ih =>
    have h1 := mul_nonneg (dot_self_nonneg n x) (mul_self_nonneg (w n))
    have h2 := mul_nonneg (mul_self_nonneg (x n)) (dot_self_nonneg n w)
    simp only [sumTo, dot] at h1 h2 ⊢
    grind

/-- The error of a product, entry by entry, where `A` and `B` bound the entries of `x` and `y`.
Exact and computed values may change places. -/
theorem product_error_le (n : Nat) (x xc y yc : Nat → α) (A B e g : α) (hA0 : 0 ≤ A) (hB0 : 0 ≤ B)
    (he0 : 0 ≤ e) (hg0 : 0 ≤ g) (hx : ∀ k, k < n → x k * x k ≤ A * A)
    (hy : ∀ k, k < n → y k * y k ≤ B * B) (hdx : squaredL2 n xc x ≤ e * e)
    (hdy : squaredL2 n yc y ≤ g * g) :
    squaredL2 n (fun k => xc k * yc k) (fun k => x k * y k) ≤
      (A * g + B * e + e * g) * (A * g + B * e + e * g) := by
  have h1 : squaredL2 n (fun k => x k * yc k) (fun k => x k * y k) ≤ A * g * (A * g) := by
    have h := sumTo_mul_self_le_scaled (w := fun k => yc k - y k) hx hdy
    have : squaredL2 n (fun k => x k * yc k) (fun k => x k * y k) =
        sumTo n (fun k => (x k * (yc k - y k)) * (x k * (yc k - y k))) :=
      sumTo_congr (fun k _ => by grind)
    rw [this]; exact h
  have h2 : squaredL2 n (fun k => x k * yc k + y k * (xc k - x k)) (fun k => x k * yc k) ≤
      B * e * (B * e) := by
    have h := sumTo_mul_self_le_scaled (w := fun k => xc k - x k) hy hdx
    have : squaredL2 n (fun k => x k * yc k + y k * (xc k - x k)) (fun k => x k * yc k) =
        sumTo n (fun k => (y k * (xc k - x k)) * (y k * (xc k - x k))) :=
      sumTo_congr (fun k _ => by grind)
    rw [this]; exact h
  have h3 : squaredL2 n (fun k => xc k * yc k) (fun k => x k * yc k + y k * (xc k - x k)) ≤
      e * g * (e * g) := by
    have h := sumTo_mul_self_le_mul n (fun k => xc k - x k) (fun k => yc k - y k)
    have h4 : squaredL2 n (fun k => xc k * yc k) (fun k => x k * yc k + y k * (xc k - x k)) =
        sumTo n (fun k => ((xc k - x k) * (yc k - y k)) * ((xc k - x k) * (yc k - y k))) :=
      sumTo_congr (fun k _ => by grind)
    have h5 := mul_le_mul hdx hdy (squaredL2_nonneg n yc y) (mul_self_nonneg e)
    unfold squaredL2 at h5
    rw [h4]
    grind
  have h6 := squaredL2_triangle (mul_nonneg he0 hg0) (mul_nonneg hB0 he0) h3 h2
  have h7 := squaredL2_triangle
    (by have := mul_nonneg he0 hg0; have := mul_nonneg hB0 he0; grind)
    (mul_nonneg hA0 hg0) h6 h1
  grind

/-- What is `L`-Lipschitz in every entry is `L`-Lipschitz in the Euclidean norm. -/
theorem entrywise_error_le (n : Nat) (x xc y yc : Nat → α) (L : α)
    (hentry : ∀ k, k < n → abs (yc k - y k) ≤ L * abs (xc k - x k)) :
    squaredL2 n yc y ≤ L * L * squaredL2 n xc x := by
  unfold squaredL2
  rw [← sumTo_mul_left]
  refine sumTo_le (fun k hk => ?_)
  have h1 := hentry k hk
  have h2 := mul_le_mul h1 h1 (abs_nonneg _) (Std.le_trans (abs_nonneg _) h1)
  have h3 : ∀ a : α, abs a * abs a = a * a := fun a => by unfold abs; split <;> grind
  have h4 : L * abs (xc k - x k) * (L * abs (xc k - x k)) =
      L * L * (abs (xc k - x k) * abs (xc k - x k)) := by grind
  rw [h3, h4, h3] at h2
  exact h2

/-- A linear layer at a place: over the taps `t`, a matrix times the vector at the tap's place, and
a bias. -/
def layer (T n : Nat) (W : Nat → Nat → Nat → α) (b : Nat → α) (x : Nat → Nat → α) (q : Nat) : α :=
  sumTo T (fun t => dot n (W t q) (x t)) + b q

/-- The error of a linear layer is at most the sum of `spread t * error t`, besides the rounding
`r`: no tap makes the error at its place longer than `spread t` times what it was. -/
theorem taps_error_le (T n m : Nat) (W : Nat → Nat → Nat → α) (b y spread error : Nat → α)
    (x xc : Nat → Nat → α) (r : α) (hs0 : ∀ t, t < T → 0 ≤ spread t)
    (he0 : ∀ t, t < T → 0 ≤ error t) (hr0 : 0 ≤ r)
    (hnorm : ∀ t, t < T →
      sumTo m (fun q => dot n (W t q) (fun k => xc t k - x t k) *
        dot n (W t q) (fun k => xc t k - x t k)) ≤
          spread t * spread t * squaredL2 n (xc t) (x t))
    (herr : ∀ t, t < T → squaredL2 n (xc t) (x t) ≤ error t * error t)
    (hround : squaredL2 m y (layer T n W b xc) ≤ r * r) :
    squaredL2 m y (layer T n W b x) ≤
      (sumTo T (fun t => spread t * error t) + r) * (sumTo T (fun t => spread t * error t) + r) :=
    by
  have hlinear : ∀ t q, dot n (W t q) (xc t) - dot n (W t q) (x t) =
      dot n (W t q) (fun k => xc t k - x t k) := fun t q => by
    have h1 : dot n (W t q) (xc t) = dot n (W t q) (x t) +
        dot n (W t q) (fun k => xc t k - x t k) := by
      unfold dot
      rw [← sumTo_add]
      exact sumTo_congr (fun k _ => by grind)
    grind
  have htap : ∀ t, t < T → squaredL2 m (fun q => dot n (W t q) (xc t))
      (fun q => dot n (W t q) (x t)) ≤ spread t * error t * (spread t * error t) := fun t ht => by
    have h1 := hnorm t ht
    have h2 := mul_nonneg (mul_self_nonneg (spread t))
      (b := error t * error t - squaredL2 n (xc t) (x t)) (by have := herr t ht; grind)
    have h3 : squaredL2 m (fun q => dot n (W t q) (xc t)) (fun q => dot n (W t q) (x t)) =
        sumTo m (fun q => dot n (W t q) (fun k => xc t k - x t k) *
          dot n (W t q) (fun k => xc t k - x t k)) :=
      sumTo_congr (fun q _ => by rw [hlinear t q])
    rw [h3]; grind
  have hall : ∀ S, S ≤ T → 0 ≤ sumTo S (fun t => spread t * error t) ∧
      squaredL2 m (fun q => sumTo S (fun t => dot n (W t q) (xc t)))
        (fun q => sumTo S (fun t => dot n (W t q) (x t))) ≤
          sumTo S (fun t => spread t * error t) * sumTo S (fun t => spread t * error t) := by
    intro S
    induction S with
    | zero =>
      intro _
      simp only [sumTo]
      rw [squaredL2_self]
      constructor <;> grind
    | succ S ih =>
      intro hS
      have h1 := ih (by omega)
      have h2 := mul_nonneg (hs0 S (by omega)) (he0 S (by omega))
      have h3 := sum_error_le m _ _ _ _ _ _ h1.1 h2 h1.2 (htap S (by omega))
      simp only [sumTo]
      exact ⟨by grind, h3⟩
  have h1 := hall T (Nat.le_refl T)
  have h2 : squaredL2 m (layer T n W b xc) (layer T n W b x) =
      squaredL2 m (fun q => sumTo T (fun t => dot n (W t q) (xc t)))
        (fun q => sumTo T (fun t => dot n (W t q) (x t))) :=
    sumTo_congr (fun q _ => by simp only [layer]; grind)
  have h3 := squaredL2_triangle hr0 h1.1 hround (by rw [h2]; exact h1.2)
  grind

/-- Where the exact and the computed residual select the same code at a level, the error of the
next residual is that of this one, besides the rounding `r` of the subtraction. -/
theorem residual_level_error_le (n : Nat) (C : Nat → Nat → α) (z zc y : Nat → α) (e r : α) (i : Nat)
    (he0 : 0 ≤ e) (hr0 : 0 ≤ r) (hz : squaredL2 n zc z ≤ e * e)
    (hround : squaredL2 n y (fun k => zc k - C i k) ≤ r * r) :
    squaredL2 n y (fun k => z k - C i k) ≤ (e + r) * (e + r) := by
  have h1 := squaredL2_triangle hr0 he0 hround
    (show squaredL2 n (fun k => zc k - C i k) (fun k => z k - C i k) ≤ e * e by
      rw [squaredL2_translate]; exact hz)
  grind

/-- If the computed latent is within `e` of the exact one, and `e` is less than the computed one's
stability radius, both have the same lowest nearest code: the canonical one. -/
theorem canonical_of_bound_lt_radius (K n : Nat) (C : Nat → Nat → α) (z zc : Nat → α) (e radius : α)
    (i : Nat) (hlow : IsLowestNearestCode K n C zc i) (he0 : 0 ≤ e)
    (hz : squaredL2 n zc z ≤ e * e) (hless : e < radius)
    (hradius : ∀ j, j < K → j ≠ i → 4 * (radius * radius) * squaredL2 n (C i) (C j) ≤
      (squaredL2 n zc (C j) - squaredL2 n zc (C i)) *
        (squaredL2 n zc (C j) - squaredL2 n zc (C i))) :
    IsLowestNearestCode K n C z i := by
  have hahead : ∀ j, j < K → 0 ≤ squaredL2 n zc (C j) - squaredL2 n zc (C i) ∧
      (j < i → 0 < squaredL2 n zc (C j) - squaredL2 n zc (C i)) := fun j hj => by
    have h1 := hlow.1.2 j hj
    refine ⟨by grind, fun hlt => ?_⟩
    by_cases h2 : 0 < squaredL2 n zc (C j) - squaredL2 n zc (C i)
    · exact h2
    · have h3 : IsNearestCode K n C zc j := ⟨hj, fun q hq => by
        have := hlow.1.2 q hq
        grind⟩
      have := hlow.2 j h3
      omega
  have hleads : ∀ j, j < K → j ≠ i → squaredL2 n z (C i) ≤ squaredL2 n z (C j) ∧
      (j < i → squaredL2 n z (C i) < squaredL2 n z (C j)) := fun j hj hne => by
    have h1 := hahead j hj
    have h2 := squaredL2_perturb_sub n zc (fun k => z k - zc k) (C i) (C j)
    have h3 : ∀ c, squaredL2 n (fun k => zc k + (z k - zc k)) c = squaredL2 n z c := fun c =>
      sumTo_congr (fun k _ => by grind)
    rw [h3, h3] at h2
    have h4 := dot_mul_self_le n (fun k => z k - zc k) (fun k => C j k - C i k)
    rw [dot_sub_self, dot_sub_self, squaredL2_comm n z zc, squaredL2_comm n (C j) (C i)] at h4
    have h5 := hradius j hj hne
    have h6 := squaredL2_nonneg n (C i) (C j)
    have h7 := mul_nonneg (a := e * e - squaredL2 n zc z) (by grind) h6
    have h8 := mul_pos (a := radius - e) (b := radius + e) (by grind) (by grind)
    have h9 := mul_nonneg (a := radius * radius - e * e) (by grind) h6
    generalize dot n (fun k => z k - zc k) (fun k => C j k - C i k) = s at *
    generalize squaredL2 n zc (C j) - squaredL2 n zc (C i) = g at *
    generalize squaredL2 n (C i) (C j) = apart at *
    have h10 : 2 * s ≤ g := le_of_mul_self_le h1.1 (by grind)
    refine ⟨by grind, fun hlt => ?_⟩
    have h11 := h1.2 hlt
    by_cases h12 : 2 * s = g
    · have h13 : 0 < g * g := mul_pos h11 h11
      have h14 : g * g = 4 * (s * s) := by rw [← h12]; grind
      have h15 : 0 < apart := by
        by_cases h : 0 < apart
        · exact h
        · have h16 : apart = 0 := by grind
          rw [h16] at h4
          grind
      have := mul_pos (a := radius * radius - e * e) (b := apart) (by grind) h15
      grind
    · grind
  refine ⟨⟨hlow.1.1, fun j hj => ?_⟩, fun j hj => ?_⟩
  · by_cases h : j = i
    · subst h; exact Std.le_refl _
    · exact (hleads j hj h).1
  · by_cases h : j < i
    · have h1 := (hleads j hj.1 (by omega)).2 h
      have h2 := hj.2 i hlow.1.1
      grind
    · omega

end OrderedRing

end CertVQ
