/// Rows of any float type of the contract as exact doubles.
///
/// In: a `Matrix`. Out: doubles, zero-padded to whole vectors. Every conversion is exact: all four
/// types are subsets of float64. Included once by each instruction set, inside its own unnamed
/// namespace, so that no function is shared between files that are compiled for unlike processors.

#if defined(__aarch64__)
typedef __fp16 Half;  // GCC has _Float16 in C++ from 13 on here
#else
typedef _Float16 Half;
#endif

template <class Entry>
struct Reader {
  static double exact(Entry entry) { return static_cast<double>(entry); }
};

struct Bfloat16 {
  std::uint16_t bits;
};

template <>
struct Reader<Bfloat16> {
  static double exact(Bfloat16 entry) {
    const std::uint32_t wide = static_cast<std::uint32_t>(entry.bits) << 16;
    float value;
    __builtin_memcpy(&value, &wide, sizeof value);
    return static_cast<double>(value);
  }
};

template <class Entry>
inline void read_entries(const Matrix &matrix, std::int64_t row, double *out) {
  constexpr std::int64_t kSize = sizeof(Entry);
  const char *first = static_cast<const char *>(matrix.data) + row * matrix.row_stride * kSize;
  const std::int64_t columns = matrix.columns;
  if (matrix.column_stride == 1) {
    for (std::int64_t column = 0; column < columns; ++column) {
      Entry entry;  // by memcpy: the address need not be a multiple of the size
      __builtin_memcpy(&entry, first + column * kSize, sizeof entry);
      out[column] = Reader<Entry>::exact(entry);
    }
    return;
  }
  for (std::int64_t column = 0; column < columns; ++column) {
    Entry entry;
    __builtin_memcpy(&entry, first + column * matrix.column_stride * kSize, sizeof entry);
    out[column] = Reader<Entry>::exact(entry);
  }
}

template <class Entry>
inline void read_block(const Matrix &matrix, std::int64_t first, std::int64_t count,
                       std::int64_t stride, double *out) {
  for (std::int64_t row = 0; row < count; ++row, out += stride) {
    read_entries<Entry>(matrix, first + row, out);
    for (std::int64_t column = matrix.columns; column < stride; ++column) out[column] = 0.0;
  }
}

void read_rows(const Matrix &matrix, std::int64_t first, std::int64_t count, std::int64_t stride,
               double *out) {
  switch (matrix.number) {
    case Number::kFloat64:
      return read_block<double>(matrix, first, count, stride, out);
    case Number::kFloat32:
      return read_block<float>(matrix, first, count, stride, out);
    case Number::kBfloat16:
      return read_block<Bfloat16>(matrix, first, count, stride, out);
    case Number::kFloat16:
      return read_block<Half>(matrix, first, count, stride, out);
  }
}
