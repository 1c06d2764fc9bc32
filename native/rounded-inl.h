/// Squared distances to about twice the precision of a double.
///
/// In: rows of doubles, padded with zeros. Out: a sum of two doubles that is not evaluated. Included
/// once by each instruction set, behind the vectors of `body-inl.h`.
///
/// Every difference, product and running sum is split into the rounded result and its exact error
/// (Knuth; Dekker; Veltkamp), and the errors are summed up in a double of their own. Theorem:
/// dot_rounding_error_le, by way of bounds::sqdist_pair_radius.

/// The sum of a and b, rounded, and what rounding took: exact in any order of sizes.
template <class Number>
inline void two_sum(Number a, Number b, Number &sum, Number &error) {
  sum = a + b;
  const Number other = sum - a;
  error = (a - (sum - other)) + (b - other);
}

void sqdist_pair(const double *row, const double *vector, std::int64_t stride, double *out) {
  Doubles high{};
  Doubles low{};
  for (std::int64_t d = 0; d < stride; d += kPad) {
    Doubles difference, left;
    two_sum(load_vector(row + d), -load_vector(vector + d), difference, left);
    const Doubles shifted = difference * 0x1.0000002p+27;
    const Doubles top = shifted - (shifted - difference);  // the upper half of its bits
    const Doubles rest = difference - top;
    const Doubles square = difference * difference;
    const Doubles lost = ((top * top - square) + 2.0 * (top * rest)) + rest * rest;
    Doubles sum, carried;
    two_sum(high, square, sum, carried);
    high = sum;
    low += (carried + lost) + 2.0 * (difference * left);
  }
  double total = high[0];
  double errors = low[0];
  for (int lane = 1; lane < kPad; ++lane) {
    double sum, carried;
    two_sum(total, high[lane], sum, carried);
    total = sum;
    errors += carried + low[lane];
  }
  out[0] = total;
  out[1] = errors;
}
