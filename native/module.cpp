/// Python bindings of the compiled kernels.
///
/// In: arrays whose type, rank and device are part of the C++ signature, so that a wrong one is
/// refused before a kernel runs. Out: arrays that Python owns. No arithmetic happens here.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "approach.h"
#include "assign.h"
#include "averages.h"
#include "bounds.h"
#include "cells.h"
#include "isa.h"
#include "lloyd.h"
#include "moments.h"
#include "packed.h"
#include "ranking.h"
#include "rounded.h"
#include "row_norms.h"
#include "second.h"
#include "stability.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class Entry>
using Rows = nb::ndarray<const Entry, nb::ndim<2>, nb::device::cpu>;
template <class Entry>
using Column = nb::ndarray<nb::numpy, Entry, nb::ndim<1>>;

template <class Entry>
Column<Entry> column(std::unique_ptr<Entry[]> data, std::size_t size) {
  Entry *raw = data.release();
  nb::capsule owner(raw, [](void *memory) noexcept { delete[] static_cast<Entry *>(memory); });
  return Column<Entry>(raw, {size}, owner);
}

/// Python up to 3.13 unwinds a daemon thread that asks for the lock while the interpreter ends, and no
/// destructor may be unwound. There is nothing left to do for it but to wait for the end of the process,
/// which is what Python does from 3.14 on.
[[noreturn]] void sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Gives up the interpreter's lock for a while.
class WithoutLock {
 public:
  WithoutLock() : state_(PyEval_SaveThread()) {}
  WithoutLock(const WithoutLock &) = delete;
  WithoutLock &operator=(const WithoutLock &) = delete;
  ~WithoutLock() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      sleep_for_ever();
    }
  }

 private:
  PyThreadState *state_;
};

bool interrupted() {
  try {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool raised = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return raised;
  } catch (...) {
    sleep_for_ever();
  }
}

Column<double> squared_row_norms(Rows<double> rows) {
  const std::size_t count = rows.shape(0);
  std::unique_ptr<double[]> norms(new double[count]);
  {
    const WithoutLock unlocked;
    certvq::squared_row_norms({rows.data(), count, rows.shape(1), rows.stride(0), rows.stride(1)},
                              norms.get());
  }
  return column(std::move(norms), count);
}

template <class Entry>
certvq::Matrix matrix(const Rows<Entry> &rows, certvq::Number number) {
  return {rows.data(),    number,         static_cast<std::int64_t>(rows.shape(0)),
          static_cast<std::int64_t>(rows.shape(1)), rows.stride(0), rows.stride(1)};
}

certvq::Number half(bool brain) {
  return brain ? certvq::Number::kBfloat16 : certvq::Number::kFloat16;
}

std::unique_ptr<certvq::Packed> pack(const certvq::Matrix &codebook, const std::string &isa) {
  if (codebook.rows < 1 || codebook.columns < 1 || codebook.rows > INT32_MAX) {
    throw std::invalid_argument("a codebook must have 1 to 2^31 - 1 rows and a column, got shape (" +
                                std::to_string(codebook.rows) + ", " +
                                std::to_string(codebook.columns) + ")");
  }
  const certvq::Isa &chosen = certvq::choose_isa(isa.c_str());
  const WithoutLock unlocked;
  return certvq::pack(codebook, chosen);
}

void check(const certvq::Packed &packed, const certvq::Matrix &latents, int threads) {
  if (packed.refusal != certvq::Refusal::kNone) {
    throw std::invalid_argument("this codebook was refused; another backend must take it");
  }
  if (latents.columns != packed.dim || threads < 1) {
    throw std::invalid_argument("latents of dim " + std::to_string(packed.dim) +
                                " and at least one thread expected, got dim " +
                                std::to_string(latents.columns) + " and " +
                                std::to_string(threads) + " threads");
  }
}

nb::object assign(const certvq::Packed &packed, const certvq::Matrix &latents, int threads) {
  check(packed, latents, threads);
  const auto rows = static_cast<std::size_t>(latents.rows);
  std::unique_ptr<std::int64_t[]> codes(new std::int64_t[rows]);
  std::unique_ptr<std::uint8_t[]> decided_by(new std::uint8_t[rows]);
  std::unique_ptr<double[]> sqdist(new double[rows]);
  certvq::Refusal refusal;
  {
    const WithoutLock unlocked;
    const certvq::Results results{codes.get(), decided_by.get(), sqdist.get()};
    refusal = certvq::assign(packed, latents, threads, results, interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (refusal != certvq::Refusal::kNone) return nb::none();
  return nb::make_tuple(column(std::move(codes), rows), column(std::move(decided_by), rows),
                        column(std::move(sqdist), rows));
}

using Codes = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void check(const Codes &codes, std::int64_t rows, std::int64_t codebook_size) {
  if (static_cast<std::int64_t>(codes.shape(0)) != rows) {
    throw std::invalid_argument("one code for each of the " + std::to_string(rows) +
                                " latents expected, got " + std::to_string(codes.shape(0)));
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t code = codes.data()[row];
    if (code < 0 || code >= codebook_size) {
      throw std::invalid_argument("codes must lie in range(" + std::to_string(codebook_size) +
                                  "), got " + std::to_string(code));
    }
  }
}

using AnyRows = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;

certvq::Matrix matrix(const AnyRows &rows, bool brain) {
  certvq::Number number;
  if (rows.dtype() == nb::dtype<double>()) {
    number = certvq::Number::kFloat64;
  } else if (rows.dtype() == nb::dtype<float>()) {
    number = certvq::Number::kFloat32;
  } else if (rows.dtype() == nb::dtype<std::uint16_t>()) {
    number = half(brain);
  } else {
    throw nb::type_error("entries must be float64, float32 or uint16");
  }
  return {rows.data(),    number,         static_cast<std::int64_t>(rows.shape(0)),
          static_cast<std::int64_t>(rows.shape(1)), rows.stride(0), rows.stride(1)};
}

Column<double> rounded_sqdist(const AnyRows &latents, bool brain_latents, const AnyRows &codebook,
                              bool brain_codebook, const Codes &codes, int threads,
                              const std::string &isa) {
  const certvq::Matrix points = matrix(latents, brain_latents);
  const certvq::Matrix vectors = matrix(codebook, brain_codebook);
  if (points.columns != vectors.columns || points.columns < 1 || threads < 1) {
    throw std::invalid_argument("latents and codebook of the same dim and at least one thread "
                                "expected, got dims " + std::to_string(points.columns) + " and " +
                                std::to_string(vectors.columns) + " and " +
                                std::to_string(threads) + " threads");
  }
  check(codes, points.rows, vectors.rows);
  const certvq::Isa &chosen = certvq::choose_isa(isa.c_str());
  const auto rows = static_cast<std::size_t>(points.rows);
  std::unique_ptr<double[]> sqdist(new double[rows]);
  {
    const WithoutLock unlocked;
    certvq::rounded_sqdists(chosen, points, vectors, codes.data(), threads, sqdist.get(),
                            interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return column(std::move(sqdist), rows);
}

nb::object stability(const certvq::Packed &packed, const certvq::Matrix &latents,
                     const Codes &codes, int threads) {
  check(packed, latents, threads);
  const auto rows = static_cast<std::size_t>(latents.rows);
  check(codes, latents.rows, packed.given);
  std::unique_ptr<double[]> radii(new double[rows]);
  certvq::Refusal refusal;
  {
    const WithoutLock unlocked;
    refusal = certvq::stability(packed, latents, codes.data(), threads, radii.get(), interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (refusal != certvq::Refusal::kNone) return nb::none();
  return nb::cast(column(std::move(radii), rows));
}

nb::object second(const certvq::Packed &packed, const AnyRows &latents, bool brain,
                  const Codes &codes, int threads) {
  const certvq::Matrix points = matrix(latents, brain);
  check(packed, points, threads);
  check(codes, points.rows, packed.given);
  const auto rows = static_cast<std::size_t>(points.rows);
  std::unique_ptr<std::int64_t[]> seconds(new std::int64_t[rows]);
  certvq::Refusal refusal;
  {
    const WithoutLock unlocked;
    refusal = certvq::second(packed, points, codes.data(), threads, seconds.get(), interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (refusal != certvq::Refusal::kNone) return nb::none();
  return nb::cast(column(std::move(seconds), rows));
}

nb::object rank(const certvq::Packed &packed, const AnyRows &latents, bool brain, int count,
                int threads) {
  const certvq::Matrix points = matrix(latents, brain);
  check(packed, points, threads);
  if (count < 1 || count > certvq::kMostRanked || count > packed.distinct) {
    throw std::invalid_argument("a count from 1 to the number of distinct code vectors, at most " +
                                std::to_string(certvq::kMostRanked) + ", expected, got " +
                                std::to_string(count));
  }
  const auto rows = static_cast<std::size_t>(points.rows);
  const std::size_t entries = rows * static_cast<std::size_t>(count);
  std::unique_ptr<std::int64_t[]> codes(new std::int64_t[entries]);
  std::unique_ptr<double[]> sqdist(new double[entries]);
  std::unique_ptr<std::uint8_t[]> decided_by(new std::uint8_t[rows]);
  certvq::Refusal refusal;
  {
    const WithoutLock unlocked;
    const certvq::Ranked results{codes.get(), sqdist.get(), decided_by.get()};
    refusal = certvq::rank(packed, points, count, threads, results, interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (refusal != certvq::Refusal::kNone) return nb::none();
  return nb::make_tuple(column(std::move(codes), entries), column(std::move(sqdist), entries),
                        column(std::move(decided_by), rows));
}

template <class Rank>
using Out = nb::ndarray<Rank, nb::c_contig, nb::device::cpu>;
using Contiguous = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

std::int64_t round_to_grid(const AnyRows &latents, const Contiguous &limits,
                           const Contiguous &entries, const std::vector<std::int64_t> &levels,
                           const Out<nb::ndim<2>> &vectors, const Out<nb::ndim<1>> &codes,
                           int threads) {
  const certvq::Matrix points = matrix(latents, false);
  const auto rows = latents.shape(0), columns = latents.shape(1);
  const std::size_t bytes = entries.itemsize();
  if (latents.itemsize() < 4 || limits.dtype() != latents.dtype() ||
      entries.dtype() != vectors.dtype() || (bytes != 2 && bytes != 4 && bytes != 8) ||
      codes.dtype() != nb::dtype<std::int64_t>()) {
    throw nb::type_error("latents and limits of one type, float64 or float32, entries and vectors "
                         "of one type of 2, 4 or 8 bytes, and int64 codes expected");
  }
  if (limits.shape(0) != columns || entries.shape(0) != columns || levels.size() != columns ||
      entries.shape(1) != limits.shape(1) + 1 || vectors.shape(0) != rows ||
      vectors.shape(1) != columns || codes.shape(0) != rows || columns < 1 || threads < 1) {
    throw std::invalid_argument("limits (D, M), entries (D, M + 1), D levels, vectors (N, D), codes "
                                "(N,) and at least one thread expected, for latents (" +
                                std::to_string(rows) + ", " + std::to_string(columns) + ")");
  }
  const certvq::Axes axes{limits.data(), static_cast<std::int64_t>(limits.shape(1)),
                          entries.data(), static_cast<std::int64_t>(bytes), levels};
  std::int64_t lowest = 0;
  {
    const WithoutLock unlocked;
    const certvq::Rounded results{vectors.data(), static_cast<std::int64_t *>(codes.data())};
    certvq::round_to_grid(axes, points, threads, results, lowest, interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return lowest;
}

template <class Entry>
using Table = nb::ndarray<Entry, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class Entry>
using Entries = nb::ndarray<Entry, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class Entry>
void add_batch(const AnyRows &tokens, const Codes &codes, const Entries<Entry> &counts,
               const Table<Entry> &sums) {
  const certvq::Matrix rows = matrix(tokens, false);
  const auto size = static_cast<std::int64_t>(sums.shape(0));
  if (tokens.itemsize() < 4 || counts.shape(0) != sums.shape(0) ||
      sums.shape(1) != tokens.shape(1)) {
    throw std::invalid_argument("float32 or float64 tokens (N, D), counts (K,) and sums (K, D) "
                                "expected, for D = " + std::to_string(tokens.shape(1)));
  }
  check(codes, rows.rows, size);
  const WithoutLock unlocked;
  certvq::add_batch(rows, codes.data(), size, counts.data(), sums.data());
}

template <class Entry>
void take_in(const std::vector<Entries<Entry>> &counts, const std::vector<Table<Entry>> &tables,
             double decay, double fresh, double extra, double scale) {
  const bool complete = counts.size() == 2 && tables.size() == 4;
  bool fits = complete;
  for (const auto &one : counts) fits = fits && one.shape(0) == tables[0].shape(0);
  for (const auto &one : tables) {
    fits = fits && one.shape(0) == tables[0].shape(0) && one.shape(1) == tables[0].shape(1);
  }
  if (!fits) {
    throw std::invalid_argument("two counts (K,) and four tables (K, D) of one shape expected, got " +
                                std::to_string(counts.size()) + " and " +
                                std::to_string(tables.size()));
  }
  const certvq::Averages<Entry> averages{
      static_cast<std::int64_t>(tables[0].shape(0)), static_cast<std::int64_t>(tables[0].shape(1)),
      counts[0].data(), counts[1].data(), tables[0].data(), tables[1].data(),
      tables[2].data(), tables[3].data()};
  const WithoutLock unlocked;
  certvq::take_in(averages, {decay, fresh, extra, scale});
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (int isa = 0; isa < certvq::kIsaCount; ++isa) {
    if (certvq::kIsas[isa]->supported()) names.emplace_back(certvq::kIsas[isa]->name);
  }
  return names;
}

/// What the environment says now, as `os.environ` writes it through; "" if nothing.
nb::object variable(const char *name) {
  const char *value = std::getenv(name);
  return nb::steal(PyUnicode_DecodeFSDefault(value == nullptr ? "" : value));
}

nb::dict bounds(double dim, double norm, double residual, double names) {
  namespace own = certvq::bounds;
  const double scale = 4.0;
  nb::dict values;
  values["gamma"] = own::gamma(dim);
  values["underflow_radius"] = own::underflow_radius(dim);
  values["norm_upper"] = own::norm_upper(norm, dim);
  values["fixed_point_residual"] = own::fixed_point_residual(residual, dim);
  values["fixed_point_distance"] = own::fixed_point_distance(norm, -residual, scale, names);
  values["fixed_point_reach"] = own::fixed_point_reach(norm, residual, residual, scale, 0.25, names);
  values["fixed_point_score_of_distance"] =
      own::fixed_point_score_of_distance(norm, residual, 0.5, scale, names);
  values["axes_distance"] = own::axes_distance(residual, norm, names, dim);
  values["sqdist_lower"] = own::sqdist_lower(norm, dim);
  values["sqdist_upper"] = own::sqdist_upper(norm, dim);
  values["farther_factor"] = own::farther_factor(dim);
  values["farther_slack"] = own::farther_slack(dim);
  values["quarter_sqdist"] = own::quarter_sqdist(norm, dim);
  values["sqdist_pair_radius"] = own::sqdist_pair_radius(norm, dim);
  values["border_distance_of_sqdist"] = own::border_distance_of_sqdist(norm, residual, names, dim);
  values["border_distance_of_product"] =
      own::border_distance_of_product(norm, norm, residual, names, dim);
  values["border_reach"] = own::border_reach(norm, residual, dim);
  values["sqdist_limit"] = own::sqdist_limit(norm, dim);
  return values;
}

#include "kmeans-inl.h"

constexpr const char *kPackDoc = "Pack a codebook (K, D) for an instruction set, '' for the best.";
constexpr const char *kAssignDoc =
    "Return codes, ways of decision and squared distances, or None where the kernel refuses.";
constexpr const char *kAddBatchDoc = "Add the tokens of each code to its count and its sum.";
constexpr const char *kTakeInDoc =
    "Take what a batch added into the averages, and make code vectors of those that moved.";
constexpr const char *kStabilityDoc =
    "Bound how far each latent may move before its code can change, or None where it refuses.";

}  // namespace

NB_MODULE(_kernel, module) {
  using certvq::Number;
  using certvq::Packed;
  module.doc() = "Compiled kernels of certvq.";
  nb::set_leak_warnings(false);  // daemon threads keep what they have when the interpreter ends
  module.def("squared_row_norms", &squared_row_norms, "rows"_a.noconvert(),
             "Sum the squares of each row: float64 (N, D), any strides, to float64 (N,).");
  module.def("ieee754", &certvq::ieee754,
             "Say whether this thread rounds to nearest and keeps subnormal numbers.");
  module.def("variable", &variable, "name"_a, "Read an environment variable, '' if there is none.");
  module.def("isas", &isas, "Name the instruction sets that run here, the best first.");
  module.def("bounds", &bounds, "dim"_a, "norm"_a, "residual"_a, "names"_a,
             "Evaluate the generated bounds, for comparison with certvq.bounds; the scale is 4.");

  module.def("rounded_sqdist", &rounded_sqdist, "latents"_a.noconvert(), "brain_latents"_a,
             "codebook"_a.noconvert(), "brain_codebook"_a, "codes"_a.noconvert(), "threads"_a,
             "isa"_a, "Round the squared distance of each latent to the vector of its code once.");

  module.def("approaches", &approaches, "rows"_a.noconvert(), "brain"_a, "sqdist"_a.noconvert(),
             "owner"_a.noconvert(), "owners"_a.noconvert(), "vectors"_a.noconvert(), "threads"_a,
             "isa"_a, "List for each vector the rows whose rounded squared distance is below sqdist.");

  module.def("round_to_grid", &round_to_grid, "latents"_a.noconvert(), "limits"_a.noconvert(),
             "entries"_a.noconvert(), "levels"_a, "vectors"_a.noconvert(), "codes"_a.noconvert(),
             "threads"_a,
             "Write the entries and the code of each latent's cells; count the digits that are 0.");

  module.def("add_batch", &add_batch<float>, "tokens"_a.noconvert(), "codes"_a.noconvert(),
             "counts"_a.noconvert(), "sums"_a.noconvert(), kAddBatchDoc);
  module.def("add_batch", &add_batch<double>, "tokens"_a.noconvert(), "codes"_a.noconvert(),
             "counts"_a.noconvert(), "sums"_a.noconvert(), kAddBatchDoc);
  module.def("take_in", &take_in<float>, "counts"_a.noconvert(), "tables"_a.noconvert(), "decay"_a,
             "fresh"_a, "extra"_a, "scale"_a, kTakeInDoc);
  module.def("take_in", &take_in<double>, "counts"_a.noconvert(), "tables"_a.noconvert(), "decay"_a,
             "fresh"_a, "extra"_a, "scale"_a, kTakeInDoc);

  nb::class_<Packed>(module, "Packed", "A codebook, packed for one instruction set.")
      .def_prop_ro("isa", [](const Packed &packed) { return packed.isa->name; })
      .def_prop_ro("distinct", [](const Packed &packed) { return packed.distinct; })
      .def_prop_ro("sorted", [](const Packed &packed) { return packed.sorted; })
      .def_prop_ro("nbytes", [](const Packed &packed) { return packed.bytes(); })
      .def_rw("widen", &Packed::widen, "Factor of the reach: 1, but for tests of too short a one.")
      .def_prop_rw(
          "first_pass", [](const Packed &packed) { return static_cast<int>(packed.first_pass); },
          [](Packed &packed, int use) { packed.first_pass = static_cast<certvq::FirstPassUse>(use); },
          "Whether there is a first pass: 1, if a sample says so; for tests 0, never, and 2, always.")
      .def_prop_ro("usable", [](const Packed &packed) {
        return packed.refusal == certvq::Refusal::kNone;
      });

  module.def(
      "pack",
      [](Rows<double> rows, const std::string &isa) {
        return pack(matrix(rows, Number::kFloat64), isa);
      },
      "codebook"_a.noconvert(), "isa"_a, kPackDoc);
  module.def(
      "pack",
      [](Rows<float> rows, const std::string &isa) {
        return pack(matrix(rows, Number::kFloat32), isa);
      },
      "codebook"_a.noconvert(), "isa"_a, kPackDoc);
  module.def(
      "pack",
      [](Rows<std::uint16_t> rows, const std::string &isa, bool brain) {
        return pack(matrix(rows, half(brain)), isa);
      },
      "codebook"_a.noconvert(), "isa"_a, "brain"_a, kPackDoc);

  module.def(
      "assign",
      [](const Packed &packed, Rows<double> rows, int threads) {
        return assign(packed, matrix(rows, Number::kFloat64), threads);
      },
      "packed"_a, "latents"_a.noconvert(), "threads"_a, kAssignDoc);
  module.def(
      "assign",
      [](const Packed &packed, Rows<float> rows, int threads) {
        return assign(packed, matrix(rows, Number::kFloat32), threads);
      },
      "packed"_a, "latents"_a.noconvert(), "threads"_a, kAssignDoc);
  module.def(
      "assign",
      [](const Packed &packed, Rows<std::uint16_t> rows, int threads, bool brain) {
        return assign(packed, matrix(rows, half(brain)), threads);
      },
      "packed"_a, "latents"_a.noconvert(), "threads"_a, "brain"_a, kAssignDoc);

  module.def("look", &look, "packed"_a, "rows"_a.noconvert(), "brain"_a, "codes"_a.noconvert(),
             "leads"_a.noconvert(), "lowers"_a.noconvert(), "drift"_a.noconvert(),
             "others"_a.noconvert(), "movers"_a.none(), "places"_a.noconvert(),
             "rest"_a.noconvert(), "digits"_a.noconvert(), "counts"_a.noconvert(), "lowest"_a, "bits"_a, "squares"_a, "threads"_a,
             "Find the codes of rows that are in doubt, and move these rows from cell to cell.");

  module.def("float32_means", &float32_means, "digits"_a.noconvert(), "counts"_a.noconvert(),
             "lowest"_a, "means"_a.noconvert(),
             "Divide the sums of cells by their counts, rounded once.");
  module.def("moments", &moments, "digits"_a.noconvert(), "vectors"_a.noconvert(), "lowest"_a,
             "bits"_a, "Sum vectors times digits for each place, and the squares of each vector.");

  module.def(
      "stability",
      [](const Packed &packed, Rows<double> rows, const Codes &codes, int threads) {
        return stability(packed, matrix(rows, Number::kFloat64), codes, threads);
      },
      "packed"_a, "latents"_a.noconvert(), "codes"_a.noconvert(), "threads"_a, kStabilityDoc);
  module.def(
      "stability",
      [](const Packed &packed, Rows<float> rows, const Codes &codes, int threads) {
        return stability(packed, matrix(rows, Number::kFloat32), codes, threads);
      },
      "packed"_a, "latents"_a.noconvert(), "codes"_a.noconvert(), "threads"_a, kStabilityDoc);
  module.def(
      "stability",
      [](const Packed &packed, Rows<std::uint16_t> rows, const Codes &codes, int threads,
         bool brain) {
        return stability(packed, matrix(rows, half(brain)), codes, threads);
      },
      "packed"_a, "latents"_a.noconvert(), "codes"_a.noconvert(), "threads"_a, "brain"_a,
      kStabilityDoc);

  module.def("second", &second, "packed"_a, "latents"_a.noconvert(), "brain"_a,
             "codes"_a.noconvert(), "threads"_a,
             "Find the nearest other code of each latent, or None where it refuses.");

  module.def("rank", &rank, "packed"_a, "latents"_a.noconvert(), "brain"_a, "count"_a, "threads"_a,
             "Find the nearest codes of each latent in order; a row that is decided by 0 is open.");
}
