/// exp, expm1, sigmoid, silu, tanh and sin of pairs, by Taylor series of a reduced argument.
///
/// In: pairs. Out: pairs within `2^-96` of the value, of sin within `2^-96 |sin x| + 2^-100 min(1, |x|)`;
/// NaN where the argument is too great for that. Constants were computed by Arb; tests compare the
/// functions with it.

struct Constant {
  double high, low;
};

inline Pair all(Constant c) { return {all(c.high), all(c.low)}; }

constexpr double kLn2Part[3] = {0x1.62e42fefa39efp-6, 0x1.abc9e3b39803fp-61, 0x1.7b57a079a1934p-116};  // of ln 2 / 32
constexpr double kParts = 0x1.71547652b82fep+5;  // 32 / ln 2
constexpr double kLn2[3] = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56, 0x1.7b57a079a1934p-111};
constexpr double kHalfPi[3] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
constexpr double kLog2e = 0x1.71547652b82fep+0, kTwoOverPi = 0x1.45f306dc9c883p-1;

/// `1 / n!`.
constexpr Constant kInverseFactorials[] = {
    {1.0, 0.0},
    {0x1.0000000000000p+0, 0x0.0p+0},
    {0x1.0000000000000p-1, 0x0.0p+0},
    {0x1.5555555555555p-3, 0x1.5555555555555p-57},
    {0x1.5555555555555p-5, 0x1.5555555555555p-59},
    {0x1.1111111111111p-7, 0x1.1111111111111p-63},
    {0x1.6c16c16c16c17p-10, -0x1.f49f49f49f49fp-65},
    {0x1.a01a01a01a01ap-13, 0x1.a01a01a01a01ap-73},
    {0x1.a01a01a01a01ap-16, 0x1.a01a01a01a01ap-76},
    {0x1.71de3a556c734p-19, -0x1.c154f8ddc6c00p-73},
    {0x1.27e4fb7789f5cp-22, 0x1.cbbc05b4fa99ap-76},
    {0x1.ae64567f544e4p-26, -0x1.c062e06d1f209p-80},
    {0x1.1eed8eff8d898p-29, -0x1.2aec959e14c06p-83},
    {0x1.6124613a86d09p-33, 0x1.f28e0cc748ebep-87},
    {0x1.93974a8c07c9dp-37, 0x1.05d6f8a2efd1fp-92},
    {0x1.ae7f3e733b81fp-41, 0x1.1d8656b0ee8cbp-97},
    {0x1.ae7f3e733b81fp-45, 0x1.1d8656b0ee8cbp-101},
    {0x1.952c77030ad4ap-49, 0x1.ac981465ddc6cp-103},
    {0x1.6827863b97d97p-53, 0x1.eec01221a8b0bp-107},
    {0x1.2f49b46814157p-57, 0x1.2650f61dbdcb4p-112},
    {0x1.e542ba4020225p-62, 0x1.ea72b4afe3c2fp-120},
    {0x1.71b8ef6dcf572p-66, -0x1.d043ae40c4647p-120},
    {0x1.0ce396db7f853p-70, -0x1.aebcdbd20331cp-124},
    {0x1.761b41316381ap-75, -0x1.3423c7d91404fp-130},
    {0x1.f2cf01972f578p-80, -0x1.9ada5fcc1ab14p-135},
    {0x1.3f3ccdd165fa9p-84, -0x1.58ddadf344487p-139},
    {0x1.88e85fc6a4e5ap-89, -0x1.71c37ebd16540p-143},
    {0x1.d1ab1c2dccea3p-94, 0x1.054d0c78aea14p-149},
    {0x1.0a18a2635085dp-98, 0x1.b9e2e28e1aa54p-153},
};

/// `2^(j / 32)`.
constexpr double kPowersHigh[] = {
    0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0, 0x1.11301d0125b51p+0,
    0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
    0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0,
    0x1.4bfdad5362a27p+0, 0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0,
    0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0, 0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0,
    0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0, 0x1.a5503b23e255dp+0,
    0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
    0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0,
};
constexpr double kPowersLow[] = {
    0x0.0p+0, 0x1.d73e2a475b465p-55, 0x1.8a62e4adc610bp-54, -0x1.6c51039449b3ap-54,
    -0x1.19041b9d78a76p-55, 0x1.e016e00a2643cp-54, 0x1.9b07eb6c70573p-54, 0x1.612e8afad1255p-55,
    0x1.6f46ad23182e4p-55, -0x1.63aeabf42eae2p-54, 0x1.ada0911f09ebcp-55, 0x1.89b7a04ef80d0p-59,
    0x1.d4397afec42e2p-56, -0x1.07abe1db13cadp-55, 0x1.6324c054647adp-54, -0x1.383c17e40b497p-54,
    -0x1.bdd3413b26456p-54, -0x1.16e4786887a99p-55, -0x1.41577ee04992fp-55, -0x1.d4c1dd41532d8p-54,
    0x1.6e9f156864b27p-54, -0x1.75fc781b57ebcp-57, 0x1.c7c46b071f2bep-56, -0x1.d2f6edb8d41e1p-54,
    0x1.7a1cd345dcc81p-54, -0x1.5584f7e54ac3bp-56, 0x1.11065895048ddp-55, 0x1.503cbd1e949dbp-56,
    0x1.2ed02d75b3707p-55, -0x1.1a5cd4f184b5cp-54, -0x1.e9c23179c2893p-54, 0x1.9d3e12dd8a18bp-54,
};

/// `x - k c`, where `k c` is near x: absolute error at most `2^-103`, for whole numbers k below 2^21.
inline Pair reduced(Pair x, V k, const double (&c)[3]) {
  const Pair first = two_product(k, all(c[0])), second = two_product(k, all(c[1]));
  const Pair small = two_sum(x.low, -first.low) - second;
  return two_sum(x.high, -first.high) + two_sum(small.high, small.low - k * c[2]);
}

/// `exp(x) - 1` for x within -0.36 .. 0.36: of `x / 64`, of which the twelfth term is `2^-111` times the
/// first, and doubled six times by `exp(2 y) - 1 = 2 y' + y'^2` with `y' = exp(y) - 1`. Terms from the
/// eighth on are `2^-68` times the first, and need one number each.
inline Pair near_one(Pair x) {
  const Constant *c = kInverseFactorials;
  x = {x.high * 0x1p-6, x.low * 0x1p-6};
  const V t = x.high;
  const V tail = c[8].high + t * (c[9].high + t * (c[10].high + t * c[11].high));
  Pair p = fast_sum(all(c[7]), {t * tail, V{}});
  for (int n = 6; n >= 1; --n) p = fast_sum(all(c[n]), p * x);
  p = p * x;
  for (int i = 0; i < 6; ++i) p = fast_sum({p.high + p.high, p.low + p.low}, p * p);
  return p;
}

constexpr double kGreatest = 690.0, kLeast = -640.0;  // exp of less is below 2^-920, and 0

struct Exponent {
  Pair rest;
  V scale;  // exp(x) = scale exp(rest)
};

inline Exponent exponent(Pair x) {
  const I low = x.high < kLeast;
  const V high = low ? all(kLeast) : x.high > kGreatest ? all(__builtin_nan("")) : x.high;
  const V k = nearest(high * kLog2e);
  return {reduced({high, low ? V{} : x.low}, k, kLn2), power_of_two(k)};
}

/// `exp(x) = 2^k 2^(j / 32) exp(r)` with r within -0.011 .. 0.011, of which the thirteenth term is below
/// 2^-106, and those from the eighth on are below `2^-58`.
inline Pair exponential(Pair x) {
  const Constant *c = kInverseFactorials;
  const I low = x.high < kLeast;
  const V high = low ? all(kLeast) : x.high > kGreatest ? all(__builtin_nan("")) : x.high;
  const V number = high * kParts + 0x1.8p52, whole = number - 0x1.8p52;
  const I j = reinterpret_cast<I>(number) & 31;
  const Pair r = reduced({high, low ? V{} : x.low}, whole, kLn2Part);
  const Pair part = {Ops::gather<V>(kPowersHigh, j), Ops::gather<V>(kPowersLow, j)};
  const V scale = power_of_two(nearest(whole * 0x1p-5 - 0.484375));  // the whole part of a 32nd
  const V t = r.high;
  const V tail = c[8].high + t * (c[9].high + t * (c[10].high + t * (c[11].high + t * c[12].high)));
  Pair p = fast_sum(all(c[7]), {t * tail, V{}});
  for (int n = 6; n >= 1; --n) p = fast_sum(all(c[n]), p * r);
  p = fast_sum(part, part * (p * r));
  return {low ? V{} : p.high * scale, low ? V{} : p.low * scale};
}

inline Pair exponential_less_one(Pair x) {
  const Exponent e = exponent(x);
  const Pair p = near_one(e.rest);
  return Pair{p.high * e.scale, p.low * e.scale} + two_sum(e.scale, all(-1.0));
}

inline Pair negative_size(Pair x) {
  return {x.high < 0.0 ? x.high : -x.high, x.high < 0.0 ? x.low : -x.low};
}

/// `numerator / (1 + exp(-x))`, of numbers that do not overflow.
inline Pair over_one_plus(Pair x, Pair numerator) {
  const Pair power = exponential(negative_size(x)), less = numerator * power;
  const Pair chosen = {x.high < 0.0 ? less.high : numerator.high,
                       x.high < 0.0 ? less.low : numerator.low};
  return chosen / fast_sum({all(1.0), V{}}, power);
}

inline Pair sigmoid(Pair x) { return over_one_plus(x, {all(1.0), V{}}); }

inline Pair silu(Pair x) { return over_one_plus(x, x); }

inline Pair hyperbolic_tangent(Pair x) {
  const Pair half = negative_size(x), e = exponential_less_one({half.high + half.high, half.low + half.low});
  const Pair size = -e / (e + Pair{all(2.0), V{}});
  return {x.high < 0.0 ? -size.high : size.high, x.high < 0.0 ? -size.low : size.low};
}

/// `sum_j (-1)^(j - 1) y^j / (2 j + first)!`, j from 1 to 13, for y within 0 .. 0.62: the next term is below
/// `2^-107`. Those from the tenth on are below `2^-67`, and need one number each.
inline Pair alternating(Pair y, int first) {
  const Constant *c = kInverseFactorials + first;
  V tail = all(c[26].high);
  for (int j = 12; j >= 10; --j) tail = c[2 * j].high - y.high * tail;
  Pair p = fast_sum(all(c[18]), {-(y.high * tail), V{}});
  for (int j = 8; j >= 1; --j) p = fast_sum(all(c[2 * j]), -(p * y));
  return p * y;
}

inline Pair sine(Pair x) {
  const V size = x.high < 0.0 ? -x.high : x.high;
  const V high = size < 0x1p20 ? x.high : all(__builtin_nan(""));
  const V k = nearest(high * kTwoOverPi);
  const Pair r = reduced({high, x.low}, k, kHalfPi), y = r * r;
  const Pair one = {all(1.0), V{}};
  const Pair s = r * fast_sum(one, -alternating(y, 1)), c = fast_sum(one, -alternating(y, 0));
  const V quarter = k - 4.0 * nearest(k * 0.25 - 0.375);  // 0, 1, 2 or 3
  const V odd = k - 2.0 * nearest(k * 0.5);
  const I swapped = odd != 0.0;
  const V sign = quarter > 1.5 ? all(-1.0) : all(1.0);
  return {sign * (swapped ? c.high : s.high), sign * (swapped ? c.low : s.low)};
}
