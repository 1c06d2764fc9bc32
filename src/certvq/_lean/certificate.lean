/-!
# Codes that are the nearest ones

In: latents, a codebook and codes, at the end of this file. Out: `certificate`, the theorem that
each code is the nearest one of its latent and the lowest among ties. It imports nothing and uses
no axiom of its own: Lean's kernel computes every distance.

The numbers were floats. All of them, divided by one power of two, are integers; that changes
neither the order of distances nor their ties. A vector is packed into one natural number.
-/

set_option maxRecDepth 1000000

namespace Certificate

/-! ## What is claimed -/

/-- The sum of `f 0, ..., f (n - 1)`. -/
def sumTo : Nat → (Nat → Int) → Int
  | 0, _ => 0
  | n + 1, f => sumTo n f + f n

/-- The squared Euclidean distance of two vectors of dimension `n`. -/
def squaredL2 (n : Nat) (x y : Nat → Int) : Int := sumTo n (fun k => (x k - y k) * (x k - y k))

/-- Code `i` is nearest to the latent `z`: it is one of the `K`, and none of them lies nearer. -/
def IsNearestCode (K n : Nat) (C : Nat → Nat → Int) (z : Nat → Int) (i : Nat) : Prop :=
  i < K ∧ ∀ j, j < K → squaredL2 n z (C i) ≤ squaredL2 n z (C j)

/-- Code `i` is the nearest code of lowest index. -/
def IsLowestNearestCode (K n : Nat) (C : Nat → Nat → Int) (z : Nat → Int) (i : Nat) : Prop :=
  IsNearestCode K n C z i ∧ ∀ j, IsNearestCode K n C z j → i ≤ j

/-- Digit `k` of a packed vector, in base `2 ^ bits`. -/
def digit (bits packed k : Nat) : Nat := packed / 2 ^ (bits * k) % 2 ^ bits

/-- The vector that is packed: entry `k` is digit `k` less `2 ^ (bits - 1)`. -/
def vector (bits packed k : Nat) : Int := (digit bits packed k : Int) - 2 ^ (bits - 1)

/-- There is one code for each latent, and each is the lowest nearest one. -/
def Certified (bits n : Nat) (codebook latents codes : List Nat) : Prop :=
  codes.length = latents.length ∧
    ∀ p, p < latents.length →
      IsLowestNearestCode codebook.length n (fun j => vector bits (codebook.getD j 0))
        (vector bits (latents.getD p 0)) (codes.getD p 0)

/-! ## What is computed -/

/-- The square of the difference; of the two differences one is 0. -/
def square (a b : Nat) : Nat :=
  Nat.add (Nat.mul (Nat.sub a b) (Nat.sub a b)) (Nat.mul (Nat.sub b a) (Nat.sub b a))

/-- The squared distance of two packed vectors. -/
def distance (bits : Nat) : Nat → Nat → Nat → Nat
  | 0, _, _ => 0
  | n + 1, x, y =>
    Nat.add (distance bits n x y)
      (square (Nat.mod (Nat.div x (Nat.pow 2 (Nat.mul bits n))) (Nat.pow 2 bits))
        (Nat.mod (Nat.div y (Nat.pow 2 (Nat.mul bits n))) (Nat.pow 2 bits)))

/-- Every code vector of the list lies at `d` or farther. -/
def farther (bits n z d : Nat) : List Nat → Bool
  | [] => true
  | c :: rest => Nat.ble d (distance bits n z c) && farther bits n z d rest

/-- Code vector `i` lies at `d`, those before it farther, those behind it not nearer. -/
def decides (bits n z d : Nat) : Nat → List Nat → Bool
  | _, [] => false
  | 0, c :: rest => Nat.beq (distance bits n z c) d && farther bits n z d rest
  | i + 1, c :: rest => Nat.ble (Nat.succ d) (distance bits n z c) && decides bits n z d i rest

/-- All codes are right; the third list holds the distance of each latent to its code vector. -/
def decidesAll (bits n : Nat) (codebook : List Nat) : List Nat → List Nat → List Nat → Bool
  | [], [], _ => true
  | z :: zs, i :: is, d :: ds => decides bits n z d i codebook && decidesAll bits n codebook zs is ds
  | _, _, _ => false

/-! ## That what is computed proves what is claimed -/

theorem square_eq (a b : Nat) (o : Int) :
    ((square a b : Nat) : Int) = ((a : Int) - o - (b - o)) * ((a : Int) - o - (b - o)) := by
  have h : square a b = (a - b) * (a - b) + (b - a) * (b - a) := rfl
  rw [h]
  cases Nat.le_total a b with
  | inl hle =>
    have h0 : a - b = 0 := Nat.sub_eq_zero_of_le hle
    have h1 : ((b - a : Nat) : Int) = b - a := Int.ofNat_sub hle
    rw [h0, Int.natCast_add, Int.natCast_mul, Int.natCast_mul, h1]
    grind
  | inr hle =>
    have h0 : b - a = 0 := Nat.sub_eq_zero_of_le hle
    have h1 : ((a - b : Nat) : Int) = a - b := Int.ofNat_sub hle
    rw [h0, Int.natCast_add, Int.natCast_mul, Int.natCast_mul, h1]
    grind

theorem distance_eq (bits n x y : Nat) :
    ((distance bits n x y : Nat) : Int) = squaredL2 n (vector bits x) (vector bits y) := by
  induction n with
  | zero => rfl
  | succ n ih =>
    have h1 : squaredL2 (n + 1) (vector bits x) (vector bits y) =
        squaredL2 n (vector bits x) (vector bits y) +
          (vector bits x n - vector bits y n) * (vector bits x n - vector bits y n) := rfl
    have h2 : distance bits (n + 1) x y =
        distance bits n x y + square (digit bits x n) (digit bits y n) := rfl
    rw [h1, h2, Int.natCast_add, ih, square_eq _ _ (2 ^ (bits - 1))]
    rfl

theorem farther_sound (bits n z d : Nat) (vectors : List Nat)
    (h : farther bits n z d vectors = true) :
    ∀ j, j < vectors.length → d ≤ distance bits n z (vectors.getD j 0) := by
  induction vectors with
  | nil => intro j hj; exact absurd hj (Nat.not_lt_zero j)
  | cons c rest ih =>
    simp only [farther, Bool.and_eq_true] at h
    intro j hj
    cases j with
    | zero => exact Nat.le_of_ble_eq_true h.1
    | succ j => exact ih h.2 j (Nat.lt_of_succ_lt_succ hj)

theorem decides_sound (bits n z d : Nat) (vectors : List Nat) : ∀ i,
    decides bits n z d i vectors = true →
      i < vectors.length ∧ distance bits n z (vectors.getD i 0) = d ∧
        ∀ j, j < vectors.length → d ≤ distance bits n z (vectors.getD j 0) ∧
          (j < i → d < distance bits n z (vectors.getD j 0)) := by
  induction vectors with
  | nil => intro i h; cases i <;> exact absurd h Bool.false_ne_true
  | cons c rest ih =>
    intro i h
    cases i with
    | zero =>
      simp only [decides, Bool.and_eq_true] at h
      have hd : distance bits n z c = d := Nat.eq_of_beq_eq_true h.1
      refine ⟨Nat.succ_pos _, hd, fun j hj => ⟨?_, fun hlt => absurd hlt (Nat.not_lt_zero j)⟩⟩
      cases j with
      | zero => exact Nat.le_of_eq hd.symm
      | succ j => exact farther_sound bits n z d rest h.2 j (Nat.lt_of_succ_lt_succ hj)
    | succ i =>
      simp only [decides, Bool.and_eq_true] at h
      have hd : d < distance bits n z c := Nat.le_of_ble_eq_true h.1
      have h' := ih i h.2
      refine ⟨Nat.succ_lt_succ h'.1, h'.2.1, fun j hj => ?_⟩
      cases j with
      | zero => exact ⟨Nat.le_of_lt hd, fun _ => hd⟩
      | succ j =>
        have hj' := h'.2.2 j (Nat.lt_of_succ_lt_succ hj)
        exact ⟨hj'.1, fun hlt => hj'.2 (Nat.lt_of_succ_lt_succ hlt)⟩

theorem row_sound (bits n z d i : Nat) (codebook : List Nat)
    (h : decides bits n z d i codebook = true) :
    IsLowestNearestCode codebook.length n (fun j => vector bits (codebook.getD j 0))
      (vector bits z) i := by
  have h' := decides_sound bits n z d codebook i h
  refine ⟨⟨h'.1, fun j hj => ?_⟩, fun j hj => ?_⟩
  · have hle := (h'.2.2 j hj).1
    show squaredL2 n (vector bits z) (vector bits (codebook.getD i 0)) ≤
      squaredL2 n (vector bits z) (vector bits (codebook.getD j 0))
    rw [← distance_eq, ← distance_eq, h'.2.1]
    exact Int.ofNat_le.mpr hle
  · by_cases hlt : j < i
    · have hfar := (h'.2.2 j hj.1).2 hlt
      have hnear : squaredL2 n (vector bits z) (vector bits (codebook.getD j 0)) ≤
          squaredL2 n (vector bits z) (vector bits (codebook.getD i 0)) := hj.2 i h'.1
      rw [← distance_eq, ← distance_eq, h'.2.1] at hnear
      exact absurd (Int.ofNat_le.mp hnear) (Nat.not_le_of_lt hfar)
    · exact Nat.le_of_not_lt hlt

theorem sound (bits n : Nat) (codebook latents : List Nat) : ∀ codes distances : List Nat,
    decidesAll bits n codebook latents codes distances = true →
      Certified bits n codebook latents codes := by
  induction latents with
  | nil =>
    intro codes distances h
    cases codes with
    | nil => exact ⟨rfl, fun p hp => absurd hp (Nat.not_lt_zero p)⟩
    | cons i is => cases distances <;> exact absurd h Bool.false_ne_true
  | cons z zs ih =>
    intro codes distances h
    cases codes with
    | nil => cases distances <;> exact absurd h Bool.false_ne_true
    | cons i is =>
      cases distances with
      | nil => exact absurd h Bool.false_ne_true
      | cons d ds =>
        simp only [decidesAll, Bool.and_eq_true] at h
        have h' := ih is ds h.2
        refine ⟨congrArg Nat.succ h'.1, fun p hp => ?_⟩
        cases p with
        | zero => exact row_sound bits n z d i codebook h.1
        | succ p => exact h'.2 p (Nat.lt_of_succ_lt_succ hp)

end Certificate
