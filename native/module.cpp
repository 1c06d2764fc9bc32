/// Python bindings of the compiled kernels.
///
/// In: arrays whose type, rank and device are part of the C++ signature, so that a wrong one is
/// refused before a kernel runs. Out: arrays that Python owns. No arithmetic happens here.

#include <cstddef>
#include <cstdint>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "row_norms.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Rows = nb::ndarray<const double, nb::ndim<2>, nb::device::cpu, nb::ro>;
using Norms = nb::ndarray<nb::numpy, double, nb::ndim<1>>;

Norms squared_row_norms(Rows rows) {
  const std::size_t count = rows.shape(0);
  auto *norms = new double[count];
  nb::capsule owner(norms, [](void *data) noexcept { delete[] static_cast<double *>(data); });
  {
    nb::gil_scoped_release release;
    certvq::squared_row_norms({rows.data(), count, rows.shape(1), rows.stride(0), rows.stride(1)},
                              norms);
  }
  return Norms(norms, {count}, owner);
}

}  // namespace

NB_MODULE(_kernel, module) {
  module.doc() = "Compiled kernels of certvq.";
  module.def("squared_row_norms", &squared_row_norms, "rows"_a.noconvert(),
             "Sum the squares of each row: float64 (N, D), any strides, to float64 (N,).");
}
