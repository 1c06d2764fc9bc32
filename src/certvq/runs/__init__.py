"""A run directory: where its files are, its figures, and its reader.

In: the path of a run directory. Out: `RunFiles`, `Summary`. Must not train, nor draw a page.
"""

from certvq.runs._run_files import RunFiles as RunFiles
from certvq.runs._summary import CanonicalFigures as CanonicalFigures
from certvq.runs._summary import ImageFigures as ImageFigures
from certvq.runs._summary import RoundedRun as RoundedRun
from certvq.runs._summary import Summary as Summary
