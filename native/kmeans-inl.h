/// Bindings of what k-means calls: starts, passes, means and inertia.
///
/// In: arrays, and the helpers of `module.cpp`, which includes this once inside an unnamed namespace.
/// Out: arrays that Python owns. No arithmetic happens here.

using Distances = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

using Owners = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::list approaches(const AnyRows &rows, bool brain, const Distances &sqdist, const Owners &owner,
                    const Rows<double> &owners, const Rows<double> &vectors, int threads,
                    const std::string &isa) {
  const certvq::Matrix points = matrix(rows, brain);
  const certvq::Matrix others = matrix(vectors, certvq::Number::kFloat64);
  const certvq::Nearest nearest{sqdist.data(), owner.data(),
                                matrix(owners, certvq::Number::kFloat64)};
  if (points.columns != others.columns || points.columns != nearest.owners.columns ||
      points.columns < 1 || threads < 1 ||
      static_cast<std::int64_t>(sqdist.shape(0)) != points.rows ||
      static_cast<std::int64_t>(owner.shape(0)) != points.rows) {
    throw std::invalid_argument("rows, owners and vectors of the same dim, a distance and an owner "
                                "for each row and at least one thread expected, got dims " +
                                std::to_string(points.columns) + ", " +
                                std::to_string(nearest.owners.columns) + " and " +
                                std::to_string(others.columns) + ", " +
                                std::to_string(sqdist.shape(0)) + " distances and " +
                                std::to_string(owner.shape(0)) + " owners for " +
                                std::to_string(points.rows) + " rows and " +
                                std::to_string(threads) + " threads");
  }
  const certvq::Isa &chosen = certvq::choose_isa(isa.c_str());
  std::vector<std::vector<certvq::Approach>> found(vectors.shape(0));
  {
    const WithoutLock unlocked;
    certvq::approaches(chosen, points, nearest, others, threads, found, interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  nb::list result;
  for (const auto &each : found) {
    std::unique_ptr<std::int64_t[]> numbers(new std::int64_t[each.size()]);
    std::unique_ptr<double[]> nearer(new double[each.size()]);
    for (std::size_t place = 0; place < each.size(); ++place) {
      numbers[place] = each[place].row;
      nearer[place] = each[place].sqdist;
    }
    result.append(nb::make_tuple(column(std::move(numbers), each.size()),
                                 column(std::move(nearer), each.size())));
  }
  return result;
}

template <class Entry>
using Space = nb::ndarray<Entry, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void check(const certvq::Packed &packed, const certvq::Packed &movers,
           const Entries<const std::int64_t> &places, const Entries<const double> &rest) {
  const bool alike = movers.isa == packed.isa && movers.dim == packed.dim &&
                     movers.refusal == certvq::Refusal::kNone;
  const auto given = static_cast<std::size_t>(movers.given);
  const auto within = [&](std::int64_t place) { return place >= 0 && place < packed.given; };
  if (!alike || places.shape(0) != given || !std::all_of(places.data(), places.data() + given, within) ||
      rest.shape(0) != static_cast<std::size_t>(packed.given)) {
    throw std::invalid_argument("movers that are usable and some of the codes, their places and "
                                "rest (K,) expected, for K = " + std::to_string(packed.given));
  }
}

/// Returns how the look ended and, if they were asked for, the low and high 64 bits of the squares.
nb::tuple look(const certvq::Packed &packed, const AnyRows &rows, bool brain,
               const Entries<std::int64_t> &codes, const Entries<float> &leads,
               const Entries<float> &lowers, const Entries<const double> &drift,
               const Entries<const double> &others, const certvq::Packed *movers,
               const Entries<const std::int64_t> &places, const Entries<const double> &rest,
               const Space<std::int64_t> &digits,
               const Entries<std::int64_t> &counts, int lowest, int bits, bool squares,
               int threads) {
  const certvq::Matrix latents = matrix(rows, brain);
  check(packed, latents, threads);
  const auto count = static_cast<std::size_t>(latents.rows);
  const auto size = static_cast<std::size_t>(packed.given);
  if (codes.shape(0) != count || leads.shape(0) != count || lowers.shape(0) != count ||
      drift.shape(0) != size || others.shape(0) != size ||
      digits.shape(0) < 2 || digits.shape(1) != size || digits.shape(2) != rows.shape(1) ||
      counts.shape(0) != size || bits < 1 || bits > certvq::kMostBits ||
      (squares && bits > certvq::kSquareBits) ||
      lowest < -certvq::kMostExponent || lowest > certvq::kMostExponent) {
    throw std::invalid_argument("codes, leads and lowers (N,), drift, others and counts (K,), "
                                "digits (P, K, D) and a grid of at most 88 bits expected, 56 for squares, "
                                "for N = " + std::to_string(count) + " and K = " +
                                std::to_string(size));
  }
  if (movers != nullptr) check(packed, *movers, places, rest);
  const certvq::Known known{codes.data(), leads.data(), lowers.data(), drift.data(),
                            others.data()};
  const certvq::Movers moved{movers, places.data(), rest.data()};
  const certvq::CellSums sums{digits.data(), counts.data(),
                              static_cast<std::int64_t>(digits.shape(0)), lowest, bits};
  certvq::Squares found;
  certvq::Looked looked;
  {
    const WithoutLock unlocked;
    looked = certvq::look(packed, latents, known, movers != nullptr ? &moved : nullptr, sums,
                          squares ? &found : nullptr, threads, interrupted);
  }
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  return nb::make_tuple(static_cast<int>(looked), found.low, found.high);
}

certvq::Sums sums_of(const Space<const std::int64_t> &digits) {
  if (digits.shape(0) < 1 || static_cast<std::int64_t>(digits.shape(0)) > certvq::kMostPlaces) {
    throw std::invalid_argument("1 to 4 digits (P, K, D) expected, got " +
                                std::to_string(digits.shape(0)));
  }
  return {digits.data(), static_cast<std::int64_t>(digits.shape(0)),
          static_cast<std::int64_t>(digits.shape(1)), static_cast<std::int64_t>(digits.shape(2))};
}

void float32_means(const Space<const std::int64_t> &digits,
                   const Entries<const std::int64_t> &counts, int lowest,
                   const Table<float> &means) {
  const certvq::Sums sums = sums_of(digits);
  const std::size_t cells = digits.shape(1);
  const std::size_t columns = digits.shape(2);
  if (counts.shape(0) != cells || means.shape(0) != cells || means.shape(1) != columns ||
      lowest < -900 || lowest > 200) {
    throw std::invalid_argument("counts (K,), means (K, D) and an exponent of float32 expected, for "
                                "K = " + std::to_string(cells) + " and D = " +
                                std::to_string(columns));
  }
  const WithoutLock unlocked;
  certvq::float32_means(sums, counts.data(), lowest, means.data());
}

/// Returns the numbers as pairs of their low and high 64 bits.
nb::tuple moments(const Space<const std::int64_t> &digits, const Table<const double> &vectors,
                   int lowest, int bits) {
  const certvq::Sums sums = sums_of(digits);
  const std::size_t cells = digits.shape(1);
  if (vectors.shape(0) != cells || vectors.shape(1) != digits.shape(2) || bits < 1 || bits > 60 ||
      lowest < -certvq::kMostExponent || lowest > certvq::kMostExponent) {
    throw std::invalid_argument("vectors (K, D) on a grid that 64 bits hold expected, for K = " +
                                std::to_string(cells));
  }
  std::vector<certvq::Wide> dots(digits.shape(0));
  std::vector<certvq::Wide> squares(cells);
  bool held;
  {
    const WithoutLock unlocked;
    held = certvq::moments(sums, vectors.data(), lowest, bits, dots.data(), squares.data());
  }
  if (!held) throw std::invalid_argument("whole numbers on the grid expected");
  const auto numbers = [](const std::vector<certvq::Wide> &wide) {
    nb::list result;
    for (const certvq::Wide &number : wide) result.append(nb::make_tuple(number.low, number.high));
    return result;
  };
  return nb::make_tuple(numbers(dots), numbers(squares));
}
