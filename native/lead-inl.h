/// How far every code but the own one is from each row, at least; included by `body-inl.h`.
///
/// In: what the filter remembers of rows, and their squared distances. Out: lower bounds of distances.
/// Theorem: int16_dot_exact, by way of bounds::fixed_point_score_of_distance.

/// The greatest score besides that of a code's own group; `best` is (2, lanes).
inline std::int32_t next_score(const std::int32_t *best, std::int32_t code) {
  const auto own = static_cast<int>(static_cast<std::uint32_t>(code) %
                                    static_cast<std::uint32_t>(kPanelCodes)) / kBlocks;
  Ints others = load<Ints>(best);
  others[own] = best[kLanes + own];
  return Ops::greatest(others);
}

void lowers(const Scan &scan, std::int64_t rows, const Panels &panels, const Quantized &quantized,
            const std::int32_t *codes, const double *next, const double *beyond, double *out) {
  const double names = static_cast<double>((1 << panels.group_bits) - 1);
  for (std::int64_t tile = 0; tile < rows; tile += kTileRows) {
    const double scale = quantized.scales[tile / kTileRows];
    const double inverse = 1.0 / scale;  // a power of two
    const double unit = quantized.unit * inverse;
    const double code_residual = quantized.code_residual * inverse;
    double scores[kTileRows];
    for (int row = 0; row < kTileRows; ++row) {
      const std::int64_t place = tile + row;
      scores[row] = next_score(scan.best + place * 2 * kLanes, codes[place]);
    }
    for (int row = 0; row < kTileRows; ++row) {  // without a branch
      const std::int64_t place = tile + row;
      const double score = scores[row];
      const double norm = quantized.norms[place];
      const double residual = bounds::fixed_point_residual(quantized.residuals[place], quantized.dim);
      const double moved = (residual + code_residual) * quantized.widen;
      // The distance is guessed, and then tested by the bound that the guess inverts.
      const double square = norm - 2.0 * inverse * (score + names + 6.0) - norm * 0x1p-40;
      const double root = __builtin_sqrt(bounds::greater(square, 0.0));
      const double distance = bounds::greater(root * (1.0 - 0x1p-40) - moved, 0.0);
      const double least =
          bounds::fixed_point_score_of_distance(norm, distance, moved, scale, names);
      double lower = least > score ? distance / unit * (1.0 - 0x1p-50) : 0.0;
      lower = score > static_cast<double>(kNothing) ? lower : __builtin_huge_val();
      const double measured = next[place] < beyond[place] ? next[place] : beyond[place];
      const double square_below = bounds::sqdist_lower(measured, quantized.dim);
      const double below =
          __builtin_sqrt(bounds::greater(square_below, 0.0)) * (1.0 - bounds::gamma(4.0));
      out[place] = below < lower ? below : lower;
    }
  }
}
