"""The theory: what certvq relies on, stated once and proved by solvers.

In: nothing at run time. Out: the ledger of theorems with their proofs, checked by z3 and cvc5
independently (and in Lean, in the folder `lean` of the repository). A leaf: no other part of certvq
imports it, and `import certvq` loads no solver. `certvq prove` runs it.
"""

from certvq.theory import _activations as _activations
from certvq.theory import _averages as _averages
from certvq.theory import _codebooks as _codebooks
from certvq.theory import _distance as _distance
from certvq.theory import _errors as _errors
from certvq.theory import _exact_sums as _exact_sums
from certvq.theory import _exponential as _exponential
from certvq.theory import _filter as _filter
from certvq.theory import _fixed_point as _fixed_point
from certvq.theory import _gradient as _gradient
from certvq.theory import _layers as _layers
from certvq.theory import _lloyd as _lloyd
from certvq.theory import _losses as _losses
from certvq.theory import _model as _model
from certvq.theory import _narrow as _narrow
from certvq.theory import _nearest as _nearest
from certvq.theory import _normalise as _normalise
from certvq.theory import _norms as _norms
from certvq.theory import _objective as _objective
from certvq.theory import _places as _places
from certvq.theory import _pooling as _pooling
from certvq.theory import _products as _products
from certvq.theory import _rounding as _rounding
from certvq.theory import _silu as _silu
from certvq.theory import _skips as _skips
from certvq.theory import _slopes as _slopes
from certvq.theory import _softmax as _softmax
from certvq.theory import _stability as _stability
from certvq.theory._kernel import Axiom as Axiom
from certvq.theory._kernel import Theorem as Theorem
from certvq.theory._ledger import AXIOMS as AXIOMS
from certvq.theory._ledger import DEFINITIONS as DEFINITIONS
from certvq.theory._ledger import LEDGER as LEDGER
from certvq.theory._ledger import Definition as Definition
from certvq.theory._ledger import Mutant as Mutant
from certvq.theory._ledger import Statement as Statement
from certvq.theory._ledger import require_defended as require_defended
from certvq.theory._mutants import Verdict as Verdict
from certvq.theory._mutants import check_mutants as check_mutants
from certvq.theory._prover import DEFAULT_CHECKERS as DEFAULT_CHECKERS
from certvq.theory._prover import Record as Record
from certvq.theory._prover import prove as prove
from certvq.theory._prover import theorem_names as theorem_names

require_defended()
