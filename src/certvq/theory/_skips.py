"""Theorems of part F on skipped rows: when a code vector that moved is still the nearest.

Out: entries of the ledger. Imports the triangle inequality and names of nearest codes.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import is_lowest_nearest_code, is_nearest_code, row, squared_l2
from certvq.theory._distance import C, K, at, i, n, z
from certvq.theory._fixed_point import far, same_back
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, forall_below, ite, nat, real, variables, vector

upper, least, most, own = variables(REAL, "upper least most own")
lower, move = vector("lower"), vector("move")
moved = Function("M", (NAT, NAT), REAL)
reach = upper + move(i)
RELIED = ("certvq.cluster._fused (rows that are not read)",)


def before(code: Term) -> Term:
    """The squared distance to the code vector where it was."""
    return squared_l2(n, z, row(C, code))


def after(code: Term) -> Term:
    """The squared distance to the code vector where it is now."""
    return squared_l2(n, z, row(moved, code))


def travel(code: Term) -> Term:
    """The squared distance by which the code vector moved."""
    return squared_l2(n, row(C, code), row(moved, code))


def moves(code: Term, bound: Term) -> Term:
    """The code vector moved by at most the bound."""
    return (real(0) <= bound) & (travel(code) <= bound * bound)


def others(body: Any) -> Term:
    """The body holds of all codes but i."""
    return forall_below(K, lambda k: (~k.eq(i)) >> body(k))


def stays(reached: Term, kept: Any) -> Term:
    """Code i is the lowest nearest one now, and the bounds, moved along, are bounds again."""
    still = is_lowest_nearest_code(n, K, moved, z, i)
    beyond = others(lambda k: (real(0) <= kept(k)) & (kept(k) * kept(k) <= after(k)))
    return still & (after(i) <= reached * reached) & beyond


def clear(k: Term) -> Term:
    """The intervals of i and k do not overlap; they may touch where k is above i."""
    rest = lower(k) - move(k)
    return (reach <= rest) & ((k < i) >> (reach < rest))


HI = ("hi", i < K)
HUPPER = ("hupper", (real(0) <= upper) & (before(i) <= upper * upper))
SKIP = Statement(
    name="skip_sound",
    part="F",
    meaning="A row keeps its code, lowest index at ties, where the upper bound of its distance, "
    "plus what its code vector moved, is at most every lower bound of another distance, less what "
    "that code vector moved (and less, for codes of lower index). The bounds, moved along, are "
    "bounds again, so that they serve any number of iterations.",
    latex=r"|z - C_i| \le u,\; l_j \le |z - C_j|,\; |C_j - C'_j| \le \delta_j,\; "
    r"u + \delta_i \le l_j - \delta_j\; (<\text{ if } j < i) \;\Rightarrow\; "
    r"\mathrm{Low}(C', z, i),\; |z - C'_i| \le u + \delta_i,\; l_j - \delta_j \le |z - C'_j|",
    hypotheses=(
        HI,
        HUPPER,
        ("hlower", others(lambda k: lower(k) * lower(k) <= before(k))),
        ("hmove", forall_below(K, lambda k: moves(k, move(k)))),
        ("hclear", others(clear)),
    ),
    conclusion=stays(reach, lambda k: lower(k) - move(k)),
    relied_on_by=RELIED,
)
SINGLE = Statement(
    name="single_bound_skip_sound",
    part="F",
    meaning="The same with one lower bound for the distances of all other codes, and the greatest "
    "move of any of them. The gap may vanish only for code 0, of which no code is lower.",
    latex=r"|z - C_i| \le u,\; l \le |z - C_j|\; (j \ne i),\; |C_i - C'_i| \le \delta,\; "
    r"|C_j - C'_j| \le \Delta,\; u + \delta \le l - \Delta\; (<\text{ if } i > 0) "
    r"\;\Rightarrow\; \mathrm{Low}(C', z, i),\; |z - C'_i| \le u + \delta,\; "
    r"l - \Delta \le |z - C'_j|",
    hypotheses=(
        HI,
        HUPPER,
        ("hlower", others(lambda k: least * least <= before(k))),
        ("hown", moves(i, own)),
        ("hmost", (real(0) <= most) & others(lambda k: travel(k) <= most * most)),
        ("hclear", upper + own <= least - most),
        ("hstrict", (nat(0) < i) >> (upper + own < least - most)),
    ),
    conclusion=stays(upper + own, lambda _: least - most),
    relied_on_by=RELIED,
)


def _moving(code: int) -> Instance:
    """Two codes in one dimension that move; the row has the given one."""
    reals = "upper least most own"
    build = instance(reals=reals, vectors="z", matrices="C M", n=1, K=2, i=code)

    def held(unknowns: Any) -> Mapping[str, Any]:
        bounds = {name: entries(unknowns, name, 2) for name in ("lower", "move")}
        return {**build(unknowns), **bounds}

    return held


_last, _first, _beyond = _moving(1), _moving(0), _moving(2)


@proves(
    SKIP,
    Mutant("without hi", SKIP.without("hi"), _beyond),
    *(Mutant(f"without {h}", SKIP.without(h), _last) for h in SKIP.labels if h != "hi"),
    Mutant(
        "ties with a lower code",
        SKIP.with_hypothesis("hclear", others(lambda k: reach <= lower(k) - move(k))),
        _last,
    ),
    Mutant(
        "its own move forgotten",
        SKIP.with_hypothesis("hclear", others(lambda k: upper < lower(k) - move(k))),
        _last,
    ),
    Mutant(
        "the other's move forgotten",
        SKIP.with_hypothesis("hclear", others(lambda k: reach < lower(k))),
        _last,
    ),
    Mutant(
        "upper bound not moved along",
        SKIP.concluding(stays(upper, lambda k: lower(k) - move(k))),
        _first,
    ),
    Mutant("lower bounds not moved along", SKIP.concluding(stays(reach, lower)), _first),
    Mutant(
        "upper of any sign",
        SKIP.with_hypothesis("hupper", before(i) <= upper * upper),
        _last,
    ),
    Mutant(
        "moves of any sign",
        SKIP.with_hypothesis(
            "hmove",
            forall_below(K, lambda k: travel(k) <= move(k) * move(k)),
        ),
        _last,
    ),
)
def skip(p: Proof) -> Theorem:
    given, other = SKIP.formula.args[0], (at < K) & ~at.eq(i)
    labels = ("hlower", "hmove", "hclear")
    seen = [p.at(SKIP.hypothesis(label), at) for label in labels]
    seen.append(p.at(SKIP.hypothesis("hmove"), i))
    rest = lower(at) - move(at)
    near = p.smt(given >> (after(i) <= reach * reach), *seen, _leg(p, C, moved, i, upper, move(i)))
    kept = (real(0) <= rest) & (rest * rest <= after(at))
    back = p.use(same_back, x=row(C, at), y=row(moved, at))
    away = p.smt((given & other) >> kept, *seen, back, _leg(p, moved, C, at, rest, move(at)))
    order = (after(i) <= after(at)) & ((at < i) >> (after(i) < after(at)))
    squares = p.use(_square_mono, a=reach, b=rest)
    closer = p.smt((given & other) >> order, near, away, *seen, squares)
    same = p.induct(at.eq(i) >> after(at).eq(after(i)), n)
    rival = is_nearest_code(n, K, moved, z, at)
    facts = [
        p.smt(given >> ((at < K) >> (after(i) <= after(at))), closer, same),
        p.smt(given >> ((at < i) >> ~rival), closer, p.at(rival.args[1], i)),
        p.smt(given >> ((at < K) >> ((~at.eq(i)) >> kept)), away),
    ]
    return p.smt(SKIP.formula, near, *(p.every(fact, at) for fact in facts))


def _leg(p: Proof, start: Any, end: Any, code: Term, a: Term, b: Term) -> Theorem:
    """From z to a code vector within a, and on to the other place of that code vector within b."""
    return p.use(far, x=z, y=row(start, code), v=row(end, code), A=a, B=b)


def _square_mono(p: Proof) -> Theorem:
    """0 <= a <= b implies a a <= b b, and likewise with <."""
    a, b = variables(REAL, "a b")
    given = (real(0) <= a) & (a <= b)
    return p.smt(given >> ((a * a <= b * b) & ((a < b) >> (a * a < b * b))))


@proves(
    SINGLE,
    Mutant("without hi", SINGLE.without("hi"), _beyond),
    *(
        Mutant(f"without {h}", SINGLE.without(h), _first if h == "hclear" else _last)
        for h in SINGLE.labels
        if h != "hi"
    ),
    Mutant(
        "strict for code 0 alone",
        SINGLE.with_hypothesis("hstrict", (i < 1) >> (upper + own < least - most)),
        _last,
    ),
    Mutant(
        "the greatest move forgotten",
        SINGLE.with_hypothesis("hclear", upper + own <= least).with_hypothesis(
            "hstrict", upper + own < least
        ),
        _last,
    ),
    Mutant("half the gap", SINGLE.concluding(stays(upper, lambda _: least - most)), _first),
)
def single(p: Proof) -> Theorem:
    given = SINGLE.formula.args[0]

    def each(k: Term) -> Term:
        return ite(k.eq(i), own, most)

    many = p.use(skip, lower=lambda _: least, move=each)
    met, kept = many.formula.args
    others_move = SINGLE.hypothesis("hmost").args[1]
    own_move = p.induct(at.eq(i) >> travel(at).eq(travel(i)), n)
    needed = [
        p.widen(others_move, met.args[0].args[1], own_move, given_too=given),
        p.widen(others_move, met.args[1], given_too=given),
    ]
    return p.smt(SINGLE.formula, many, *needed, p.widen(kept.args[1], SINGLE.conclusion.args[1]))
