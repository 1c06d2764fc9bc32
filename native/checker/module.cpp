/// Python bindings of the checker's filter.
///
/// In: arrays whose type, rank and device are part of the C++ signature. Out: arrays that Python
/// owns. No arithmetic happens here.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "rivals.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using certvq_checker::Number;
using Rows = nb::ndarray<nb::ro, nb::ndim<2>, nb::device::cpu>;
using Codes = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

certvq_checker::Matrix matrix(const Rows &rows, bool brain) {
  Number number;
  if (rows.dtype() == nb::dtype<double>()) {
    number = Number::kFloat64;
  } else if (rows.dtype() == nb::dtype<float>()) {
    number = Number::kFloat32;
  } else if (rows.dtype() == nb::dtype<std::uint16_t>()) {
    number = brain ? Number::kBfloat16 : Number::kFloat16;
  } else {
    throw nb::type_error("entries must be float64, float32 or uint16");
  }
  return {rows.data(),    number,         static_cast<std::int64_t>(rows.shape(0)),
          static_cast<std::int64_t>(rows.shape(1)), rows.stride(0), rows.stride(1)};
}

template <class Entry>
auto column(std::unique_ptr<Entry[]> data, std::size_t size) {
  Entry *raw = data.release();
  nb::capsule owner(raw, [](void *memory) noexcept { delete[] static_cast<Entry *>(memory); });
  return nb::ndarray<nb::numpy, Entry, nb::ndim<1>>(raw, {size}, owner);
}

auto column(const std::vector<std::int64_t> &values) {
  std::unique_ptr<std::int64_t[]> data(new std::int64_t[values.size()]);
  for (std::size_t i = 0; i < values.size(); ++i) data[i] = values[i];
  return column(std::move(data), values.size());
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

nb::object rivals(const Rows &latents, bool brain_latents, const Rows &codebook,
                  bool brain_codebook, const Codes &codes, int threads, const std::string &level,
                  double widen, const std::optional<Codes> &besides) {
  const certvq_checker::Matrix points = matrix(latents, brain_latents);
  const certvq_checker::Matrix vectors = matrix(codebook, brain_codebook);
  const auto rows = static_cast<std::size_t>(points.rows);
  if (points.columns != vectors.columns || vectors.rows < 1 || vectors.columns < 1 ||
      codes.shape(0) != rows || threads < 1) {
    throw std::invalid_argument("latents (N, D), codebook (K, D) and codes (N,) do not fit");
  }
  if (besides && besides->shape(0) != rows) {
    throw std::invalid_argument("as many codes besides as codes expected");
  }
  for (std::size_t row = 0; row < rows; ++row) {
    if (codes.data()[row] < 0 || codes.data()[row] >= vectors.rows) {
      throw std::invalid_argument("code out of range at row " + std::to_string(row));
    }
  }
  const certvq_checker::Level &chosen = certvq_checker::choose_level(level.c_str());
  certvq_checker::Found found;
  bool decided;
  {
    const WithoutLock unlocked;
    decided = find_rivals(points, vectors, codes.data(), besides ? besides->data() : nullptr, threads,
                          chosen, widen, interrupted, found);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (!decided) return nb::none();
  return nb::make_tuple(column(found.row), column(found.rival), column(found.given_up),
                        column(std::move(found.sqdist), rows));
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (int i = 0; i < certvq_checker::kLevelCount; ++i) {
    if (certvq_checker::kLevels[i]->supported()) names.emplace_back(certvq_checker::kLevels[i]->name);
  }
  return names;
}

}  // namespace

NB_MODULE(_rivals, module) {
  module.doc() = "Compiled filter of the independent checker.";
  module.def("levels", &levels, "Name the instruction sets that run here, the best first.");
  module.def("rivals", &rivals, "latents"_a.noconvert(), "brain_latents"_a,
             "codebook"_a.noconvert(), "brain_codebook"_a, "codes"_a.noconvert(), "threads"_a,
             "level"_a = "", "widen"_a = 1.0, "besides"_a = nb::none(),
             "Return rows, rivals, rows given up and squared distances, or None if nothing is decided.");
}
