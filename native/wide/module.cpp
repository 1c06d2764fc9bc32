/// Python bindings of the arithmetic on pairs of float64 numbers.
///
/// In: contiguous arrays, whose sizes are compared before a kernel runs. Out: arrays that were given.
/// Threads share the entries or places; results do not depend on how many there are.

#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "kernel.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace certvq_wide {

#if defined(__x86_64__)
extern const Kernel kAvx512, kAvx2;
#endif
extern const Kernel kPortable;

namespace {

using Array = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Offsets = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

std::vector<const Kernel *> kernels() {
  std::vector<const Kernel *> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) found.push_back(&kAvx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&kAvx2);
#endif
  found.push_back(&kPortable);
  return found;
}

std::vector<std::string> levels() {
  std::vector<std::string> names;
  for (const Kernel *each : kernels()) names.push_back(each->name);
  return names;
}

const Kernel &kernel_of(const std::string &level) {
  for (const Kernel *each : kernels()) {
    if (level.empty() || level == each->name) return *each;
  }
  throw std::invalid_argument("level must be one of levels(), got " + level);
}

void require(bool holds, const char *what) {
  if (!holds) throw std::invalid_argument(what);
}

In in(const Array &high, const Array &low) {
  require(high.size() == low.size(), "high and low parts must have one size");
  return {high.data(), low.data()};
}

/// The same without low parts, which stands for zeros.
In in(const Array &high, const std::optional<Array> &low) {
  return low ? in(high, *low) : In{high.data(), nullptr};
}

Out out(const Target &high, const Target &low) {
  require(high.size() == low.size(), "high and low parts must have one size");
  return {high.data(), low.data()};
}

constexpr std::int64_t kWorthAThread = 1 << 14;  // entries; chosen

/// Split 0 .. count among threads, at multiples of a step.
void share(std::int64_t count, std::int64_t step, int threads,
           const std::function<void(std::int64_t, std::int64_t)> &work) {
  const nb::gil_scoped_release unlocked;
  const std::int64_t steps = (count + step - 1) / step;
  const std::int64_t parts = threads < steps ? threads : steps;
  std::vector<std::exception_ptr> failed(static_cast<std::size_t>(parts));
  const auto one = [&](std::int64_t part) {
    const std::int64_t last = steps * (part + 1) / parts * step;
    try {
      work(steps * part / parts * step, last < count ? last : count);
    } catch (...) {
      failed[static_cast<std::size_t>(part)] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<std::size_t>(parts));
  for (std::int64_t part = 1; part < parts; ++part) {
    try {
      others.emplace_back(one, part);
    } catch (const std::system_error &) {  // no more threads
      one(part);
    }
  }
  if (parts > 0) one(0);
  for (std::thread &each : others) each.join();
  for (const std::exception_ptr &each : failed) {
    if (each) std::rethrow_exception(each);
  }
}

void unary(int operation, const Array &high, const Array &low, const Target &out_high,
           const Target &out_low, int threads, const std::string &level) {
  require(high.size() == out_high.size(), "the result must have the size of the operand");
  require(operation >= 0 && operation <= static_cast<int>(Unary::kSin), "no such operation");
  const Kernel &kernel = kernel_of(level);
  const In given = in(high, low);
  const Out result = out(out_high, out_low);
  share(static_cast<std::int64_t>(high.size()), kWorthAThread, threads,
        [&](std::int64_t first, std::int64_t last) {
          kernel.unary(static_cast<Unary>(operation), {given.high + first, given.low + first},
                       {result.high + first, result.low + first}, last - first);
        });
}

void binary(int operation, const Array &high, const Array &low, const Array &right_high,
            const Array &right_low, const Target &out_high, const Target &out_low, std::int64_t inner,
            int threads, const std::string &level) {
  const auto count = static_cast<std::int64_t>(high.size());
  const auto period = static_cast<std::int64_t>(right_high.size());
  require(high.size() == out_high.size(), "the result must have the size of the operand");
  require(operation >= 0 && operation <= static_cast<int>(Binary::kQuotient), "no such operation");
  require(inner >= 1 && (count == 0 || (period >= 1 && count % (inner * period) == 0)),
          "the second operand must repeat a whole number of times");
  const Kernel &kernel = kernel_of(level);
  const In left = in(high, low), right = in(right_high, right_low);
  const Out result = out(out_high, out_low);
  share(count, kWorthAThread, threads, [&](std::int64_t first, std::int64_t last) {
    kernel.binary(static_cast<Binary>(operation), left, right, result, first, last, inner, period);
  });
}

void sums(const Array &high, const std::optional<Array> &low, const Target &out_high, const Target &out_low,
          int threads, const std::string &level) {
  const auto rows = static_cast<std::int64_t>(out_high.size());
  require(rows == 0 || high.size() % out_high.size() == 0, "rows must have one size");
  if (rows == 0) return;
  const auto columns = static_cast<std::int64_t>(high.size()) / rows;
  const Kernel &kernel = kernel_of(level);
  const In given = in(high, low);
  const Out result = out(out_high, out_low);
  share(rows, kWorthAThread / (columns + 1) + 1, threads, [&](std::int64_t first, std::int64_t last) {
    kernel.sums({given.high + first * columns, low ? given.low + first * columns : nullptr},
                {result.high + first, result.low + first}, last - first, columns);
  });
}

/// Products of `count` pairs of a matrix (outputs, terms), of which there may be fewer that repeat, and
/// places; results are (count, outputs, stride).
void product(const Array &weight, const std::optional<Array> &weight_low, const Array &high,
             const std::optional<Array> &low, const Offsets &offsets, const Array &anchors,
             const Target &out_high, const Target &out_low, int threads, const std::string &level) {
  require(weight.ndim() == 3 && high.ndim() == 2 && out_high.ndim() == 3 && anchors.ndim() == 2,
          "weights and results must have 3 axes, operands and anchors 2");
  const auto outputs = static_cast<std::int64_t>(weight.shape(1));
  const auto terms = static_cast<std::int64_t>(weight.shape(2));
  const auto count = static_cast<std::int64_t>(high.shape(0));
  const auto size = static_cast<std::int64_t>(high.shape(1));
  const auto stride = static_cast<std::int64_t>(out_high.shape(2));
  const auto blocks = static_cast<std::int64_t>(weight.shape(0));
  require(blocks >= 1 && count % blocks == 0 && out_high.shape(0) == high.shape(0) &&
              static_cast<std::int64_t>(out_high.shape(1)) == outputs && stride % kPlaces == 0 &&
              anchors.shape(0) == high.shape(0) &&
              static_cast<std::int64_t>(anchors.shape(1)) == outputs &&
              static_cast<std::int64_t>(offsets.size()) == terms,
          "shapes do not fit together");
  for (std::int64_t t = 0; t < terms; ++t) {
    const std::int64_t at = offsets.data()[t];
    require(at >= 0 && at + stride <= size, "a term must lie inside the operand");
  }
  if (weight_low) require(weight_low->size() == weight.size(), "low parts must have one size");
  require(low || !weight_low, "low parts of weights need those of operands");
  const Kernel &kernel = kernel_of(level);
  const In given = in(high, low);
  const Out result = out(out_high, out_low);
  // so many places that what they need stays in the cache
  const std::int64_t step = terms * kPlaces > (1 << 15) ? kPlaces : (1 << 15) / terms / kPlaces * kPlaces;
  const std::int64_t width = step < kPlaces ? kPlaces : step, parts = (stride + width - 1) / width;
  share(count * parts, 1, threads, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t n = i / parts, from = i % parts * width;
      const std::int64_t block = n % blocks * outputs * terms;
      const Product one{
          {weight.data() + block, weight_low ? weight_low->data() + block : nullptr},
          {given.high + n * size, low ? given.low + n * size : nullptr},
          offsets.data(),
          anchors.data() + n * outputs,
          outputs,
          terms,
          {result.high + n * outputs * stride, result.low + n * outputs * stride},
          stride};
      kernel.product(one, from, from + width < stride ? from + width : stride);
    }
  });
}

}  // namespace
}  // namespace certvq_wide

NB_MODULE(_wide, m) {
  using namespace certvq_wide;
  m.attr("PLACES") = kPlaces;
  m.def("levels", &levels);
  m.def("unary", &unary, "operation"_a, "high"_a, "low"_a, "out_high"_a, "out_low"_a, "threads"_a,
        "level"_a = "");
  m.def("binary", &binary, "operation"_a, "high"_a, "low"_a, "right_high"_a, "right_low"_a,
        "out_high"_a, "out_low"_a, "inner"_a, "threads"_a, "level"_a = "");
  m.def("sums", &sums, "high"_a, "low"_a.none(), "out_high"_a, "out_low"_a, "threads"_a, "level"_a = "");
  m.def("product", &product, "weight"_a, "weight_low"_a.none(), "high"_a, "low"_a.none(), "offsets"_a,
        "anchors"_a, "out_high"_a, "out_low"_a, "threads"_a, "level"_a = "");
}
