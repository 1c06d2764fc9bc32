import CertVQ.Order
import CertVQ.Sum
import CertVQ.Distance
import CertVQ.Objective
import CertVQ.Model
import CertVQ.Argmin
import CertVQ.Gradients
import CertVQ.CauchySchwarz
import CertVQ.Filter
import CertVQ.FixedPoint
import CertVQ.Rounding
import CertVQ.Integer
import CertVQ.Stability
import CertVQ.Quantizers
import CertVQ.Lloyd
import CertVQ.KMeans
import CertVQ.Errors
import CertVQ.Norms
import CertVQ.Pooling
import CertVQ.Normalise
import CertVQ.Activations
import CertVQ.Exponential
import CertVQ.Silu
import CertVQ.Slopes
import CertVQ.Softmax
import CertVQ.Program
import Lean.Elab.Command
import Lean.Util.CollectAxioms

/-!
# What the theorems rest on

In: every theorem of the project. Out: one line for each, with the axioms below its proof, and an
error if one of them is not an axiom of Lean's logic: a `sorry`, an `axiom` or a `native_decide`
anywhere below a theorem shows here. Imports all other files, and Lean's own commands.
-/

namespace CertVQ

/-- A name as its source spells it. -/
def spell : Lean.Name → String
  | .anonymous => ""
  | .str .anonymous last => last
  | .str above last => spell above ++ "." ++ last
  | .num above last => spell above ++ "." ++ last.repr

/-- Names with spaces between them. -/
def spellAll : List Lean.Name → String
  | [] => ""
  | first :: rest => " " ++ spell first ++ spellAll rest

/-- Those of the names that are axioms. Where a Lean comes without the proofs of its own library,
it takes every theorem of it for an axiom; what a constant was when it was declared tells. -/
def axiomsAmong (env : Lean.Environment) : List Lean.Name → List Lean.Name
  | [] => []
  | first :: rest =>
    match Lean.getOriginalConstKind? env first with
    | some .axiom => first :: axiomsAmong env rest
    | some _ => axiomsAmong env rest
    | none => first :: axiomsAmong env rest

/-- The first name that is not an axiom of Lean's logic. -/
def firstForeign : List Lean.Name → Option Lean.Name
  | [] => none
  | first :: rest =>
    if first == ``propext || first == ``Classical.choice || first == ``Quot.sound then
      firstForeign rest
    else some first

/-- Print the axioms below one theorem, and fail on any that is not one of Lean's logic. -/
def reportAxioms (name : Lean.Name) : Lean.Elab.Command.CommandElabM Unit := do
  let used := axiomsAmong (← Lean.getEnv) (← Lean.collectAxioms name).toList
  let spelled := spell (Lean.privateToUserName name)
  IO.println ("axioms below " ++ spelled ++ ":" ++ spellAll used)
  if let some foreign := firstForeign used then
    throw (Lean.Exception.error .missing (Lean.MessageData.ofFormat
      (Std.Format.text (spelled ++ " rests on " ++ spell foreign))))

/-- Every theorem of the project, in the order of the files. -/
def theorems : List Lean.Name :=
  [``count_add, ``power_add, ``abs_le, ``mul_nonneg, ``mul_pos, ``mul_self_nonneg,
    ``le_of_mul_self_le, ``mul_le_mul, ``le_of_mul_le_mul, ``inverse_pos, ``count_nonneg,
    ``count_pos, ``one_le_power, ``le_abs, ``neg_le_abs, ``abs_nonneg, ``abs_mul_le, ``abs_add_le,
    ``div_mul_cancel, ``div_nonneg, ``div_le_div_iff, ``le_div, ``sumTo_congr, ``sumTo_zero,
    ``sumTo_add, ``sumTo_mul_left, ``sumTo_append, ``sumTo_blocks, ``sumTo_comm, ``sumTo_single,
    ``dot_comm, ``sumTo_le, ``sumTo_nonneg, ``dot_self_nonneg,
    ``nearestCode_minimizes_quantization_loss, ``lowest_isNearestCode_unique, ``squaredL2_self,
    ``squaredL2_comm, ``squaredL2_congr, ``squaredL2_eq_dot, ``squaredL2_translate,
    ``exactCodeMatch_selected_distance_zero, ``squaredL2_nonneg, ``exactCodeMatch_isNearestCode,
    ``score_eq, ``two_ne_zero, ``score_sub, ``isNearestCode_iff_mse, ``isNearestCode_iff_score,
    ``weightedTwoTerm_zero_regularizer, ``weightedTwoTerm_zero_weight,
    ``weightedThreeTerm_zero_regularizer, ``weightedThreeTerm_zero_middle_zero_regularizer,
    ``weightedThreeTerm_zero_weight, ``weightedTwoTerm_mono_weight,
    ``weightedThreeTerm_mono_weight, ``quantized_is_codebook_lookup,
    ``forward_eq_decoder_codebook, ``vqvae_loss_decomposition, ``vqvae_loss_eq_weightedThreeTerm,
    ``vqvae_loss_zero_beta, ``vqvae_loss_eq_reconstruction_of_zero_quantization,
    ``codebookLoss_eq_commitmentLoss, ``exactCodeMatch_loss_eq_reconstruction, ``mse_nonneg,
    ``vqvae_loss_mono_beta_of_commitment_nonneg, ``reconstructionLoss_nonneg,
    ``codebookLoss_nonneg, ``commitmentLoss_nonneg, ``vqvae_loss_mono_beta, ``argminLoop_spec,
    ``argmin_spec, ``argmin_isNearestCode, ``exists_isNearestCode, ``squaredL2_move_left,
    ``dot_scaled, ``dot_add_left, ``dot_move_right, ``squaredL2_zero, ``mse_move_left,
    ``straightThrough_gradients, ``cauchySchwarz_step, ``dot_mul_self_le, ``abs_dot_le,
    ``abs_dot_sub_split_le, ``isNearestCode_translate, ``refine_sound, ``nearest_of_score_gap,
    ``nearest_mem_candidates, ``nearest_survives, ``certified_assign, ``squaredL2_corner,
    ``squaredL2_le_add, ``quantized_squaredL2_le, ``quantized_score_gap_le,
    ``sumTree_sum_weighted, ``sumTree_sum_eq_sumTo, ``Computes.nonneg, ``abs_sum_le,
    ``one_add_le_power, ``abs_round_sub_le, ``dot_rounding_error_power_le, ``power_mul_le_one,
    ``power_sub_one_le_gamma, ``dot_rounding_error_le, ``mul_le_16384, ``int8_dot_exact,
    ``sumTo_chosen_eq_dot, ``dot_self_chosen_le, ``int16_dot_exact, ``int16_dot_exact_int32,
    ``squaredL2_perturb_sub, ``dot_sub_self, ``isNearestCode_of_perturbation,
    ``isNearestCode_of_small_perturbation, ``radix_pos, ``squaredL2_productCodebook,
    ``product_isNearestCode, ``grid_round_isNearestCode, ``sign_isNearestCode,
    ``cosine_isNearestCode, ``residual_telescopes, ``squaredL2_through, ``sumTo_member,
    ``sumTo_deviation, ``weightedDistortion_through_mean, ``distortion_through_mean,
    ``squaredL2_step, ``mean_minimises_distortion, ``ema_step_distortion_le, ``exact_sum_merge,
    ``isRounded_not_lt, ``rounded_mean_unique, ``lloyd_iteration_distortion_le, ``skip_sound,
    ``single_bound_skip_sound, ``squaredL2_triangle, ``error_comp_le, ``sum_error_le,
    ``sumTo_mul_self_le_scaled, ``sumTo_mul_self_le_mul, ``product_error_le, ``entrywise_error_le,
    ``taps_error_le, ``residual_level_error_le, ``canonical_of_bound_lt_radius, ``weighted_step,
    ``dot_mul_self_le_weighted, ``operator_norm_le, ``le_sumTo, ``mul_self_le_of_abs,
    ``maximum_error_le, ``squaredL2_scaled, ``squaredL2_centred, ``dot_add_self,
    ``dot_add_self_le, ``squaredL2_centred_le, ``turn_le, ``roots_apart, ``normalised_small,
    ``normalised_apart, ``normalise_error_le, ``normalise_place_error_le, ``abs_mul_abs_self,
    ``lipschitz_of_le, ``leakyRelu_lipschitz, ``relu_lipschitz, ``gated_rises, ``gelu_lipschitz,
    ``snake_lipschitz, ``exp_zero, ``exp_mul_exp_neg, ``exp_pos, ``exp_between, ``sigmoid_mul,
    ``inverses_apart, ``secant_le, ``sigmoid_lipschitz, ``tanh_eq_sigmoid, ``tanh_lipschitz,
    ``elu_lipschitz, ``square_ge, ``ten_thirds_le_exp, ``sigmoid_odd, ``sigmoid_grows,
    ``sigmoid_flattens, ``silu_lipschitz, ``silu_slope_le, ``cubic_le,
    ``gate_slopes_le, ``softmax_slope_le, ``rising_add_falling, ``shares_split, ``parts_le,
    ``affine_nonneg, ``share_core, ``share_moves, ``sumTo_pos, ``softmax_error_le,
    ``codeOf_isLowestNearestCode, ``codesOf_isLowestNearestCode, ``codes_isLowestNearestCode]

/-- Report on each of them. -/
def reportEach : List Lean.Name → Lean.Elab.Command.CommandElabM Unit
  | [] => pure ()
  | name :: rest => do
    reportAxioms name
    reportEach rest

run_cmd reportEach theorems

end CertVQ
