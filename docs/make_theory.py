"""Write docs/theory.md from the ledger, and the Lean statements into the package.

python docs/make_theory.py            # write them
python docs/make_theory.py --check    # exit 1 if one of them is not fresh
"""

import json
import sys
from pathlib import Path

from certvq.theory import AXIOMS, DEFINITIONS, LEDGER, Statement, theorem_names
from certvq.theory._lean import lean_theorems
from certvq.theory._ledger import LEAN_FILE

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "theory.md"
LEAN = ROOT / "src" / "certvq" / "theory" / LEAN_FILE
PARTS = {
    "A": "The seed",
    "B": "What the seed leaves to its caller",
    "C": "What makes the runtime sound",
    "D": "What users gain from it",
    "E": "Canonical tokens",
    "F": "k-means",
}
HEAD = """# Theory

This page lists every theorem that certvq relies on. Each holds for every dimension, codebook size
and model, and is proved three times: independently by **z3** and **cvc5**, from the same SMT-LIB
text, and in **Lean 4** from first principles (`lean/`). `certvq prove` repeats the first two
proofs in under a minute, and `certvq prove --solver lean` the third in minutes. `certvq prove
--mutants` refutes similar but false statements for every theorem, each with a countermodel that is
evaluated in exact fractions. `python docs/make_theory.py` writes this page; `docs/guarantees.md`
states what is proved, assumed and tested.

`n` is the dimension, `K` the codebook size, `z` the latent, `C_j` the code vectors, `d` the
squared distance. `Near(C, z, i)`: `i < K` and `d(z, C_i) <= d(z, C_j)` for all `j < K`. `Low(C, z,
i)`: `i` is nearest, and no lower code is. Division by 0 gives 0, here as in Lean.

Only a kernel of at most 300 lines (`certvq/theory/_kernel.py`) can create theorems. Its rules are
substitution, generalisation, instances of a hypothesis, unfolding of a recursion by one step,
induction over a natural number or a summation tree, and *the negation has no model*, which every
solver has to confirm. A sum over `k < n` stays a recursion over `n`; no size is ever fixed. A
statement that a solver cannot decide in time counts as not proved.

Lean can also prove statements about actual tokens: `certvq certify latents.npy codebook.npy
codes.npy --lean codes.lean --check` writes a file whose theorem says that these codes are the
lowest nearest ones, and has Lean check it. On two shared cores, rows x codes x dim of 32,768 took
8 seconds and 262,144 took 30 (5,000 to 9,000 coordinates per second), plus half a minute to two
minutes to start; split much larger inputs.
"""

AXIOM_NOTE = (
    "Assumed, and compared by tests with the hardware, or with 60 digits of the function, unless "
    "an axiom says otherwise:"
)


def section(name: str) -> list[str]:
    """Return the lines of a theorem."""
    statement = LEDGER[name].statement
    seed = ", the seed's theorem of that name" if statement.seed_name else ""
    lines = [f"### {name}", "", f"{statement.meaning}", "", f"$$ {statement.latex} $$", ""]
    lines += [f"- hypotheses: {hypotheses(statement)}"]
    lines += [f"- checkers: z3, cvc5, Lean{seed}; mutants refuted: {len(LEDGER[name].mutants)}"]
    lines += [f"- relied on by: {', '.join(f'`{p}`' for p in statement.places)}", ""]
    return [*lines, "```lean", f"theorem {name} {statement.lean}", "```", ""]


def hypotheses(statement: Statement) -> str:
    """Return the labels of the hypotheses."""
    return ", ".join(f"`{label}`" for label in statement.labels) or "none"


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for part, title in PARTS.items():
        lines += [f"## {part}. {title}", ""]
        for name in theorem_names():
            if LEDGER[name].statement.part == part:
                lines += section(name)
    lines += ["## Axioms", "", AXIOM_NOTE, ""]
    lines += [f"- `{axiom.name}`. {axiom.source}" for axiom in AXIOMS.values()]
    lines += [
        "",
        "No proof takes them for granted. What the axioms say of one machine is a hypothesis",
    ]
    lines += [
        "of `dot_rounding_error_le`, with any `u` and `w`; what they say of exponential, sine and"
    ]
    lines += [
        "normal distribution is a hypothesis of the theorems of part E, for any such function."
    ]
    lines += ["", "## Definitions", ""]
    lines += [f"- `{found.name}`: {found.meaning}" for found in DEFINITIONS.values()]
    return "\n".join([*lines, ""])


def statements() -> str:
    """Return the Lean statements of the theorems as JSON."""
    found = lean_theorems()
    texts = {name: found[name].statement for name in theorem_names()}
    return json.dumps(texts, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files, or compare them."""
    if "--check" not in sys.argv:
        LEAN.write_text(statements(), encoding="utf-8")
        PAGE.write_text(page(), encoding="utf-8")
    elif LEAN.read_text(encoding="utf-8") != statements():
        sys.exit(f"{LEAN_FILE} is not fresh; run: python docs/make_theory.py")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/theory.md is not fresh; run: python docs/make_theory.py")


if __name__ == "__main__":
    main()
