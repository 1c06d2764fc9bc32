import CertVQ.Argmin

/-!
# The argmin on actual tokens

In: integer vectors, each packed into one natural number, as `certvq` writes them (floats are
dyadic, so that one power of two makes integers of them all). Out: their codes, and the theorem that
these are the nearest codes of lowest index over the integers. Imports `CertVQ.Argmin`.
-/

namespace CertVQ

/-- Entry `k` of a packed vector: digit `k` in base `2 ^ bits`, less `2 ^ (bits - 1)`. -/
def unpack (bits packed k : Nat) : Int :=
  Int.ofNat (packed / 2 ^ (bits * k) % 2 ^ bits) - Int.ofNat (2 ^ (bits - 1))

/-- Row `j` of a list of packed vectors; 0 beyond its end. -/
def row : List Nat → Nat → Nat
  | [], _ => 0
  | first :: _, 0 => first
  | _ :: rest, j + 1 => row rest j

/-- How many rows there are. -/
def rows : List Nat → Nat
  | [] => 0
  | _ :: rest => rows rest + 1

/-- The code of one packed latent. -/
def codeOf (bits n : Nat) (codebook : List Nat) (latent : Nat) : Nat :=
  argmin (fun j => squaredL2 n (unpack bits latent) (unpack bits (row codebook j))) (rows codebook)

/-- The codes of packed latents, in their order. -/
def codesOf (bits n : Nat) (codebook : List Nat) : List Nat → List Nat
  | [] => []
  | first :: rest => codeOf bits n codebook first :: codesOf bits n codebook rest

/-- What `codeOf` computes is the nearest code of lowest index. -/
theorem codeOf_isLowestNearestCode (bits n : Nat) (codebook : List Nat) (latent : Nat)
    (hK : 0 < rows codebook) :
    IsLowestNearestCode (rows codebook) n (fun j => unpack bits (row codebook j))
      (unpack bits latent) (codeOf bits n codebook latent) :=
  argmin_isNearestCode (rows codebook) n (fun j => unpack bits (row codebook j))
    (unpack bits latent) hK

/-- What `codesOf` computes are, for every latent, the nearest codes of lowest index. -/
theorem codesOf_isLowestNearestCode (bits n : Nat) (codebook latents : List Nat) (p : Nat)
    (hp : p < rows latents) (hK : 0 < rows codebook) :
    IsLowestNearestCode (rows codebook) n (fun j => unpack bits (row codebook j))
      (unpack bits (row latents p)) (row (codesOf bits n codebook latents) p) := by
  induction latents generalizing p with
  | nil => simp only [rows] at hp; omega
  | cons first rest ih =>
    cases p with
    | zero => exact codeOf_isLowestNearestCode bits n codebook first hK
    | succ p => exact ih p (by simp only [rows] at hp; omega)

/-- A claimed list of codes is right if it is what `codesOf` computes. -/
theorem codes_isLowestNearestCode (bits n : Nat) (codebook latents codes : List Nat)
    (hK : 0 < rows codebook) (hcodes : codesOf bits n codebook latents = codes) (p : Nat)
    (hp : p < rows latents) :
    IsLowestNearestCode (rows codebook) n (fun j => unpack bits (row codebook j))
      (unpack bits (row latents p)) (row codes p) := by
  rw [← hcodes]
  exact codesOf_isLowestNearestCode bits n codebook latents p hp hK

end CertVQ
