/// Every kernel of this build against exact integers, without Python.
///
/// In: `--cases N`, `--work M` for N K D of most of them, `--seed S`. Out: cases, rows and wrong ones
/// of each instruction set that runs; exit status 1 if anything is wrong. `--self-test` spoils answers
/// and succeeds only if each is noticed.

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>

#include "../approach.h"
#include "../assign.h"
#include "../bounds.h"
#include "../exact.h"
#include "../rounded.h"
#include "../row_norms.h"
#include "cases.h"
#include "follow_up.h"
#include "grids.h"
#include "packing.h"
#include "passes.h"

namespace certvq {
namespace {

using cases::Layout;
using cases::Random;
using cases::Stored;
using reference::Answer;
using reference::Values;

constexpr std::int64_t kUnwritten = -7;

struct Tally {
  std::int64_t cases = 0;
  std::int64_t rows = 0;
  std::int64_t wrong = 0;
};

struct Given {
  std::string name;
  Stored latents;
  Stored codebook;
};

struct Found {
  Refusal refusal = Refusal::kNone;
  std::vector<std::int64_t> codes;
  std::vector<std::uint8_t> decided_by;
  std::vector<double> sqdist;
};

/// Arrays of exactly N entries, so that AddressSanitizer sees the first write beyond.
Found run(const Packed &packed, const Matrix &latents, int threads,
          const std::function<bool()> &interrupted = [] { return false; }) {
  const auto rows = static_cast<std::size_t>(latents.rows);
  std::unique_ptr<std::int64_t[]> codes(new std::int64_t[rows]);
  std::unique_ptr<std::uint8_t[]> decided_by(new std::uint8_t[rows]());
  std::unique_ptr<double[]> sqdist(new double[rows]());
  std::fill_n(codes.get(), rows, kUnwritten);
  Found found;
  const Results results{codes.get(), decided_by.get(), sqdist.get()};
  found.refusal = assign(packed, latents, threads, results, interrupted);
  found.codes.assign(codes.get(), codes.get() + rows);
  found.decided_by.assign(decided_by.get(), decided_by.get() + rows);
  found.sqdist.assign(sqdist.get(), sqdist.get() + rows);
  return found;
}

class Test {
 public:
  explicit Test(bool spoil) : spoil_(spoil) {}

  /// Compare all instruction sets, with one and with more threads, with the reference.
  void judge(const Given &given, int threads) {
    const Answer expected = reference::nearest(given.latents.values, given.codebook.values);
    judge(given, threads, expected);
    if (!spoil_ && ++followed_ % 2 == 0) follow_up(given, threads, expected);
  }

  /// Second codes, rounded squared distances, radii and the checker's rivals of the right codes.
  void follow_up(const Given &given, int threads, const Answer &expected) {
    const Values &z = given.latents.values, &y = given.codebook.values;
    const cases::FollowUp all{given.latents.matrix, given.codebook.matrix, expected,
                              reference::nearest(z, y, &expected.codes), cases::borders(z, y, expected), y};
    const cases::Passes passes{given.latents.matrix, given.codebook.matrix, expected, z};
    for (int isa = 0; isa < kIsaCount; ++isa) {
      if (!kIsas[isa]->supported()) continue;
      for (const std::string &claim : all.broken(*kIsas[isa], threads)) {
        report(*kIsas[isa], given.name + ": " + claim);
      }
      for (const std::string &claim : passes.broken(*kIsas[isa], threads)) {
        report(*kIsas[isa], given.name + ": " + claim);
      }
    }
    for (const std::string &claim : all.broken_by_checker(threads)) {
      report(*kIsas[0], given.name + ": " + claim);
    }
  }

  void judge(const Given &given, int threads, const Answer &expected) {
    std::vector<double> first_sqdist;
    for (int isa = 0; isa < kIsaCount; ++isa) {
      if (!kIsas[isa]->supported()) continue;
      const auto packed = pack(given.codebook.matrix, *kIsas[isa]);
      for (const auto use : {FirstPassUse::kNever, FirstPassUse::kBytes, FirstPassUse::kAxes}) {
        packed->first_pass = use;
        for (int used : {1, threads}) {
          Found found;
          if (packed->refusal == Refusal::kNone) found = run(*packed, given.latents.matrix, used);
          if (spoil_) spoil(found, given);
          compare(*kIsas[isa], given, found, *packed, expected);
          if (first_sqdist.empty()) first_sqdist = found.sqdist;
          if (found.sqdist != first_sqdist) {
            report(*kIsas[isa], given.name + ": squared distances differ between instruction sets");
          }
          if (used == threads) break;
        }
      }
    }
  }

  /// Count a claim about one instruction set that is not about codes.
  void expect(const Isa &isa, bool holds, const std::string &claim) {
    ++tallies_[isa.name].cases;
    if (!holds) report(isa, claim);
  }

  /// Print the tallies; whether they are as they should be.
  bool finish() const {
    bool good = !tallies_.empty();
    for (const auto &[name, tally] : tallies_) {
      std::printf("%-12s %6lld cases %8lld rows %4lld wrong\n", name.c_str(),
                  static_cast<long long>(tally.cases), static_cast<long long>(tally.rows),
                  static_cast<long long>(tally.wrong));
      good = good && tally.wrong == spoilt(name) && tally.rows > 0;
    }
    return good;
  }

 private:
  void compare(const Isa &isa, const Given &given, const Found &found, const Packed &packed,
               const Answer &expected) {
    Tally &tally = tallies_[isa.name];
    ++tally.cases;
    if (packed.refusal != Refusal::kNone || found.refusal != Refusal::kNone) {
      report(isa, given.name + ": refused");
      return;
    }
    const auto dim = static_cast<double>(packed.dim);
    for (std::size_t row = 0; row < expected.codes.size(); ++row) {
      ++tally.rows;
      if (found.codes[row] != expected.codes[row]) {
        report(isa, given.name + ": row " + std::to_string(row) + " has code " +
                        std::to_string(found.codes[row]) + ", not " +
                        std::to_string(expected.codes[row]));
        continue;
      }
      const auto computed = found.sqdist[row];
      const long double exact = expected.sqdist.empty() ? computed : expected.sqdist[row];
      const bool bounded = exact * (1 + 0x1p-52L) >= bounds::sqdist_lower(computed, dim) &&
                           exact * (1 - 0x1p-52L) <= bounds::sqdist_upper(computed, dim);
      if (!bounded || found.decided_by[row] < kFilter || found.decided_by[row] > kExact) {
        report(isa, given.name + ": row " + std::to_string(row) + " has a wrong squared distance " +
                        std::to_string(computed) + " or way of decision");
      }
    }
  }

  void report(const Isa &isa, const std::string &text) {
    Tally &tally = tallies_[isa.name];
    if (++tally.wrong <= 5 && !spoil_) std::printf("%s: %s\n", isa.name, text.c_str());
  }

  /// Make the last row wrong: a code that lies elsewhere, or the same vector at a higher index.
  void spoil(Found &found, const Given &given) {
    std::int64_t &code = found.codes.back();
    code = (code + given.codebook.values.rows / 2) % given.codebook.values.rows;
    ++spoilt_;
  }

  std::int64_t spoilt(const std::string &name) const {
    return spoil_ ? tallies_.at(name).cases : 0;
  }

  bool spoil_;
  std::int64_t followed_ = 0;
  std::int64_t spoilt_ = 0;
  std::map<std::string, Tally> tallies_;
};

std::string describe(const char *family, const Matrix &z, const Matrix &y, int layouts) {
  return std::string(family) + " " + std::to_string(z.rows) + "x" + std::to_string(y.rows) + "x" +
         std::to_string(y.columns) + " numbers " + std::to_string(static_cast<int>(z.number)) + "," +
         std::to_string(static_cast<int>(y.number)) + " layouts " + std::to_string(layouts);
}

/// Every family, type, layout, and edge of a tile, panel or vector comes up in some combination.
Given draw_case(Random &random, int index, std::int64_t work) {
  const int family = index % cases::kFamilyCount;
  const std::string name = cases::kFamilies[family];
  std::int64_t dim = random.among({1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 300});
  std::int64_t codes =
      random.among({1, 2, 3, 15, 16, 17, 31, 63, 64, 65, 130, 300, 1023, 1025, 1500, 3000});
  std::int64_t rows = random.among({0, 1, 2, 11, 12, 13, 24, 95, 96, 97, 200, 400});
  const bool threaded = index % 16 == 7;
  if (threaded) rows = 500, codes = 300, dim = random.between(27, 34);  // worth several threads
  rows = std::min(rows, threaded ? rows : work / (codes * dim));
  auto of_latents = static_cast<Number>(random.between(0, 3));
  auto of_codebook = static_cast<Number>(random.between(0, 3));
  if (name == "huge" || name == "tiny") of_latents = of_codebook = Number::kFloat64;
  if (name == "one ulp") of_codebook = Number::kFloat64;
  const auto layout = static_cast<int>(random.between(0, cases::kLayouts - 1));
  const auto other = static_cast<int>(random.between(0, cases::kLayouts - 3));  // not all codes alike
  Values latents = cases::draw(random, rows, dim, 1.0);
  Values codebook = cases::draw(random, codes, dim, 1.0);
  cases::harden(family, random, latents, codebook);
  Given given;
  given.latents = cases::store(latents, of_latents, static_cast<Layout>(layout));
  given.codebook = cases::store(codebook, of_codebook, static_cast<Layout>(other));
  given.name = "case " + std::to_string(index) + " " +
               describe(cases::kFamilies[family], given.latents.matrix, given.codebook.matrix,
                        10 * layout + other);
  return given;
}

/// Latents next to nothing break ties of |y|^2 by their inner product, in numbers of 4000 bits.
void judge_infinitesimal(Test &test, Random &random) {
  const Values codebook = cases::draw(random, 90, 5, 0.0);
  Values latents = cases::draw(random, 40, 5, 0.0);
  Answer expected;
  for (std::int64_t row = 0; row < latents.rows; ++row) {
    std::int64_t nearest = 0;
    const auto key = [&](std::int64_t code) {  // |y|^2 first, then -2 <x, y>
      double squares = 0, products = 0;
      for (std::int64_t d = 0; d < codebook.columns; ++d) {
        squares += codebook.at(code, d) * codebook.at(code, d);
        products -= latents.at(row, d) * codebook.at(code, d);
      }
      return std::make_pair(squares, products);
    };
    for (std::int64_t code = 1; code < codebook.rows; ++code) {
      if (key(code) < key(nearest)) nearest = code;
    }
    expected.codes.push_back(nearest);
  }
  for (int power : {-1074, -1000, -300, -60}) {
    Values tiny = latents;
    for (double &value : tiny.entries) value = std::ldexp(value, power);
    test.judge({"infinitesimal", cases::store(tiny, Number::kFloat64, Layout::kRows),
                cases::store(codebook, Number::kFloat32, Layout::kRows)},
               1, expected);
  }
}

const Isa &best_isa() {
  for (int isa = 0; isa < kIsaCount; ++isa) {
    if (kIsas[isa]->supported()) return *kIsas[isa];
  }
  throw std::logic_error("no instruction set runs here");
}

/// Codebooks that are sorted, so that panels too far from a tile are left out; with ties, equal
/// vectors, and latents far from all of them.
void judge_sorted(Test &test, Random &random, std::int64_t rows) {
  for (const std::int64_t dim : {1, 2, 3}) {
    for (const double grid : {0.0, std::ldexp(1.0, static_cast<int>(12 / dim))}) {
      Values latents = cases::draw(random, rows, dim, 1.0);
      Values codebook = cases::draw(random, 9000, dim, 1.0);
      for (std::int64_t row = 0; row < rows; ++row) {  // by the dozen, some of them far away
        const std::int64_t first = row / kTileRows * kTileRows;
        for (std::int64_t d = 0; d < dim; ++d) {
          double &value = latents.at(row, d);
          value = row == first ? value * (row % 5 == 4 ? 50.0 : 1.0) : latents.at(first, d) + value / 64;
        }
      }
      for (Values *values : {&latents, &codebook}) {
        for (double &value : values->entries) {
          if (grid != 0.0) value = std::nearbyint(value * grid) / grid;
        }
      }
      const Given given{"sorted, dim " + std::to_string(dim) + (grid != 0.0 ? ", on a grid" : ""),
                        cases::store(latents, Number::kFloat32, Layout::kRows),
                        cases::store(codebook, Number::kFloat32, Layout::kRows)};
      test.expect(best_isa(), pack(given.codebook.matrix, best_isa())->sorted, given.name);
      const Answer expected = reference::nearest(given.latents.values, given.codebook.values);
      test.judge(given, 2, expected);
      test.follow_up(given, 2, expected);
    }
  }
}

/// What packing makes of a codebook, on every instruction set.
void judge_packing(Test &test, const std::string &name, const Stored &codebook) {
  std::unique_ptr<Packed> first;
  for (int isa = 0; isa < kIsaCount; ++isa) {
    if (!kIsas[isa]->supported()) continue;
    auto packed = pack(codebook.matrix, *kIsas[isa]);
    const std::string wrong = packing::wrong(*packed, codebook.values);
    test.expect(*kIsas[isa], wrong.empty(), name + ": packed " + wrong);
    if (!first) first = std::move(packed);
    if (packed) test.expect(*kIsas[isa], packing::alike(*packed, *first), name + ": not packed alike");
  }
}

/// Equal vectors far apart, with either zero, and hashes of which few or no bits are left.
void judge_folding(Test &test, Random &random, const Isa &isa) {
  for (int index = 0; index < 12; ++index) {
    const auto number = static_cast<Number>(index % 4);
    const std::int64_t codes = random.among({2, 63, 64, 65, 300, 600}), dim = random.between(1, 40);
    Values codebook = cases::draw(random, codes, dim, index % 3 == 0 ? 0.0 : 1.0);
    for (std::int64_t code = codes / 2; code < codes; code += random.between(1, 3)) {
      for (std::int64_t d = 0; d < dim; ++d) codebook.at(code, d) = codebook.at(codes - 1 - code, d);
      codebook.at(codes - 1 - code, dim - 1) = code % 2 ? 0.0 : -0.0;
      codebook.at(code, dim - 1) = code % 2 ? -0.0 : 0.0;
    }
    const Stored stored = cases::store(codebook, number, static_cast<Layout>(index % 5));
    judge_packing(test, "folding", stored);
    const std::uint64_t high = std::uint64_t{7} << 32;
    for (const std::uint64_t bits : {std::uint64_t{0}, std::uint64_t{3}, high}) {
      const std::string wrong = packing::wrong(*pack(stored.matrix, isa, bits), stored.values);
      test.expect(isa, wrong.empty(), "hashes that collide: packed " + wrong);
    }
  }
}

/// Numbers of which only some rows are read for the centre.
void judge_refused_codebooks(Test &test, Random &random, const Isa &isa) {
  const Values plain = cases::draw(random, 700, 9, 1.0);  // every second row is
  const auto refusal = [&](const Values &values, Number number) {
    return pack(cases::store(values, number, Layout::kRows).matrix, isa)->refusal;
  };
  for (const std::int64_t row : {0, 1, 2, 301, 302, 698, 699}) {
    Values spoilt = plain;
    spoilt.at(row, 8) = 0x1p500;
    test.expect(isa, refusal(spoilt, Number::kFloat64) == Refusal::kExtreme, "2^500 in a codebook");
    for (const std::int64_t other : {0, 300, 301, 699}) {
      spoilt.at(other, 0) = NAN;
      test.expect(isa, refusal(spoilt, Number::kFloat64) == Refusal::kNotFinite, "NaN and 2^500");
      spoilt.at(other, 0) = HUGE_VAL;
      test.expect(isa, refusal(spoilt, Number::kFloat64) == Refusal::kNotFinite, "infinity and 2^500");
      spoilt.at(other, 0) = plain.at(other, 0);
    }
    Values infinite = plain;  // in float32 it is NaN that `store` leaves as it is
    infinite.at(row, 3) = NAN;
    test.expect(isa, refusal(infinite, Number::kFloat32) == Refusal::kNotFinite, "NaN in float32");
  }
  for (const double centre : {0x1p420, -0x1p1023, 0x1p401}) {
    Values far = plain;
    for (double &value : far.entries) value = centre * (1 + std::fabs(value) * 0x1p-40);
    test.expect(isa, refusal(far, Number::kFloat64) == Refusal::kExtreme, "all far from zero");
  }
}

void judge_refusals(Test &test, Random &random, const Isa &isa) {
  const Values latents = cases::draw(random, 300, 6, 1.0), codebook = cases::draw(random, 70, 6, 1.0);
  const auto stored = [](const Values &values) {
    return cases::store(values, Number::kFloat64, Layout::kMirrored);
  };
  const Stored plain = stored(codebook);
  const auto packed = pack(plain.matrix, isa);
  const struct {
    double number;
    Refusal refusal;
  } bad[] = {{NAN, Refusal::kNotFinite},    {HUGE_VAL, Refusal::kNotFinite},
             {-HUGE_VAL, Refusal::kNotFinite}, {0x1p500, Refusal::kExtreme},
             {-0x1.fffffffffffffp1023, Refusal::kExtreme}};
  for (const auto &[number, refusal] : bad) {
    for (std::int64_t row : {0, 137, 299}) {
      Values spoilt = latents;
      spoilt.at(row, row % 6) = number;
      const Stored given = stored(spoilt);
      for (int threads : {1, 3}) {
        test.expect(isa, run(*packed, given.matrix, threads).refusal == refusal, "latent not refused");
      }
      spoilt = codebook;
      spoilt.at(row % 70, row % 6) = number;
      test.expect(isa, pack(stored(spoilt).matrix, isa)->refusal == refusal, "codebook not refused");
    }
  }
  Values close = codebook;
  for (double &value : close.entries) value = std::ldexp(value, -410);
  test.expect(isa, pack(stored(close).matrix, isa)->refusal == Refusal::kExtreme, "tiny codebook");
  const Stored one = stored(cases::draw(random, 1, 64, 1.0));
  Matrix endless = one.matrix;
  endless.rows = 2000000;
  endless.row_stride = 0;
  int asked = 0;
  const auto stop = [&] { return ++asked == 1; };
  const auto large = pack(stored(cases::draw(random, 3000, 64, 1.0)).matrix, isa);
  test.expect(isa, run(*large, endless, 2, stop).refusal == Refusal::kStopped && asked == 1,
              "the caller wanted it to stop");
}

/// One row whose ties take seconds: a signal stops it, in whichever part it is.
void judge_patience(Test &test, Random &random, const Isa &isa) {
  const std::int64_t shapes[][2] = {{100, 20000}, {1500, 3000}};  // few ties, and very many
  for (const auto &[codes, dim] : shapes) {
    Values codebook = cases::draw(random, codes, dim, 1.0), latents = cases::draw(random, 1, dim, 0.0);
    for (std::int64_t d = 0; d < dim; ++d) latents.at(0, d) = 0.25;
    for (std::int64_t code = 0; code < codes; ++code) {
      for (std::int64_t d = 0; d < dim; ++d) codebook.at(code, d) = codebook.at(0, (d + code) % dim);
    }
    const double first = codebook.at(0, 0);
    for (double &value : codebook.entries) {
      if (value == first) value = 0x1p-200;  // too many places for 128 bits
    }
    const Stored z = cases::store(latents, Number::kFloat64, Layout::kRows);
    const Stored y = cases::store(codebook, Number::kFloat64, Layout::kRows);
    const auto packed = pack(y.matrix, isa);
    int asked = 0;
    const auto stop = [&] { return ++asked == 1; };
    test.expect(isa, run(*packed, z.matrix, 1, stop).refusal == Refusal::kStopped && asked == 1,
                "a row of exact ties cannot be stopped");
    asked = 0;
    const std::int64_t code = 0;
    std::int64_t found = 0;
    test.expect(isa, second(*packed, z.matrix, &code, 1, &found, stop) == Refusal::kStopped,
                "second codes of exact ties cannot be stopped");
  }
}

void judge_exact(Test &test, Random &random, const Isa &isa) {
  for (int index = 0; index < 2000; ++index) {
    const std::int64_t dim = random.between(1, 9);
    Values x = cases::draw(random, 1, dim, index % 2 ? 0.0 : 1.0);
    Values pair = cases::draw(random, 2, dim, index % 3 ? 0.0 : 1.0);
    for (Values *values : {&x, &pair}) {
      const auto power = static_cast<int>(random.between(-30, 30));
      for (double &value : values->entries) value = std::ldexp(value, power);
    }
    if (index % 7 == 0) std::swap_ranges(&pair.at(0, 0), &pair.at(0, 0) + dim, &pair.at(1, 0));
    if (index % 11 == 0) x.entries.assign(static_cast<std::size_t>(dim), 0.0);
    Values swapped = pair;
    std::swap_ranges(&swapped.at(0, 0), &swapped.at(0, 0) + dim, &swapped.at(1, 0));
    const bool second = reference::nearest(x, pair).codes[0] == 1;
    const bool first = reference::nearest(x, swapped).codes[0] == 1;
    const int sign = compare_distances(&x.at(0, 0), &pair.at(0, 0), &pair.at(1, 0), dim);
    test.expect(isa, sign == static_cast<int>(second) - static_cast<int>(first), "compare_distances");
  }
}

void judge_row_norms(Test &test, Random &random, const Isa &isa) {
  for (std::int64_t dim : {1, 3, 4, 5, 8, 300}) {
    for (int layout = 0; layout < cases::kLayouts; ++layout) {
      const Stored rows = cases::store(cases::draw(random, 33, dim, 1.0), Number::kFloat64,
                                       static_cast<Layout>(layout));
      const Matrix &matrix = rows.matrix;
      std::unique_ptr<double[]> norms(new double[33]);
      squared_row_norms({static_cast<const double *>(matrix.data), 33, static_cast<std::size_t>(dim),
                         matrix.row_stride, matrix.column_stride}, norms.get());
      const Values zero{1, dim, std::vector<double>(static_cast<std::size_t>(dim))};
      const Answer exact = reference::nearest(rows.values, zero);
      for (std::size_t row = 0; row < 33; ++row) {
        const auto error = static_cast<double>(std::fabs(exact.sqdist[row] - norms[row]));
        test.expect(isa, error <= norms[row] * bounds::gamma(static_cast<double>(dim) + 2), "row norm");
      }
    }
  }
}

void judge_approaches(Test &test, Random &random, const Isa &isa) {
  constexpr std::int64_t kRows = 150, kVectors = 3;
  for (std::int64_t dim : {1, 3, 17, 64}) {
    for (int layout = 0; layout < cases::kLayouts; ++layout) {
      const Number number = layout % 2 == 0 ? Number::kFloat32 : Number::kFloat64;
      const Stored rows = cases::store(cases::draw(random, kRows, dim, 1.0), number,
                                       static_cast<Layout>(layout));
      const auto row = [&](std::int64_t n) { return &rows.values.entries[static_cast<std::size_t>(n * dim)]; };
      std::vector<double> before;
      for (std::int64_t n = 0; n < kRows; ++n) before.push_back(summed_sqdist(row(n), row(7), dim));
      const Matrix vectors{row(5), Number::kFloat64, kVectors, dim, dim, 1};
      const Matrix owners{row(7), Number::kFloat64, 1, dim, dim, 1};
      std::vector<std::int32_t> owner(kRows, 0);
      for (std::size_t n = 0; n < owner.size(); n += 3) owner[n] = n % 2 == 0 ? -1 : 1;  // unknown
      std::vector<std::vector<Approach>> found(kVectors);
      approaches(isa, rows.matrix, {before.data(), owner.data(), owners}, vectors, 2, found,
                 [] { return false; });
      for (std::int64_t each = 0; each < kVectors; ++each) {
        auto next = found[static_cast<std::size_t>(each)].begin();
        const auto end = found[static_cast<std::size_t>(each)].end();
        bool same = true;
        for (std::int64_t n = 0; n < kRows; ++n) {
          const double exact = summed_sqdist(row(n), row(5 + each), dim);
          if (exact >= before[static_cast<std::size_t>(n)]) continue;
          same = same && next != end && next->row == n && next->sqdist == exact;
          if (next != end) ++next;
        }
        test.expect(isa, same && next == end, "approaches");
      }
    }
  }
}

void judge_grids(Test &test, Random &random, int count, const Isa &isa) {
  for (int index = 0; index < count; ++index) {
    const std::string wrong = grids::wrong(random, index);
    test.expect(isa, wrong.empty(), "round_to_grid: " + wrong);
  }
  bool noticed = false;
  for (int index = 0; index < 8; ++index) noticed |= !grids::wrong(random, index, true).empty();
  test.expect(isa, noticed, "spoilt limits are not noticed");
}

void judge_choice(Test &test, const Isa &best) {
  bool refused = false;
  try {
    choose_isa("no such set");
  } catch (const std::invalid_argument &) {
    refused = true;
  }
  test.expect(best, refused && &choose_isa("") == &best && &choose_isa(best.name) == &best, "choice");
  test.expect(best, ieee754(), "IEEE 754 mode");
}

int test_all(int count, std::int64_t work, std::uint64_t seed) {
  Random random(seed);
  Test test(false);
  for (int index = 0; index < count; ++index) {
    const Given given = draw_case(random, index, work);
    test.judge(given, 1 + index % 3);
    judge_packing(test, given.name, given.codebook);
  }
  judge_infinitesimal(test, random);
  judge_sorted(test, random, std::min<std::int64_t>(work / 9000, 100));
  for (int isa = 0; isa < kIsaCount; ++isa) {
    if (!kIsas[isa]->supported()) continue;
    judge_refusals(test, random, *kIsas[isa]);
    judge_folding(test, random, *kIsas[isa]);
    judge_refused_codebooks(test, random, *kIsas[isa]);
    judge_approaches(test, random, *kIsas[isa]);
  }
  judge_patience(test, random, best_isa());
  judge_exact(test, random, best_isa());
  judge_row_norms(test, random, best_isa());
  judge_grids(test, random, count, best_isa());
  judge_choice(test, best_isa());
  return test.finish() ? 0 : 1;
}

/// A wrong code, and a code that is as near as the lowest one and not the lowest.
int test_itself() {
  Random random(1);
  Test test(true);
  Given given{"far", cases::store(cases::draw(random, 30, 4, 1.0), Number::kFloat32, Layout::kRows),
              cases::store(cases::draw(random, 40, 4, 1.0), Number::kFloat32, Layout::kRows)};
  test.judge(given, 1);
  Values twins = cases::draw(random, 40, 4, 1.0);
  std::copy_n(twins.entries.begin(), 80, twins.entries.begin() + 80);
  given.codebook = cases::store(twins, Number::kFloat32, Layout::kRows);
  test.judge(given, 1);
  return test.finish() ? 0 : 1;
}

}  // namespace
}  // namespace certvq

int main(int count, char **arguments) {
  int cases = 400;
  std::int64_t work = 1000000;
  std::uint64_t seed = 20261122;
  for (int place = 1; place < count; ++place) {
    const std::string argument = arguments[place];
    const char *value = place + 1 < count ? arguments[place + 1] : "0";
    if (argument == "--self-test") return certvq::test_itself();
    if (argument == "--cases") {
      cases = std::atoi(value);
    } else if (argument == "--work") {
      work = std::atoll(value);
    } else if (argument == "--seed") {
      seed = std::strtoull(value, nullptr, 10);
    } else {
      std::fprintf(stderr, "unknown argument: %s\n", argument.c_str());
      return 2;
    }
    ++place;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return certvq::test_all(cases, work, seed);
}
