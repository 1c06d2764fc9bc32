"""Measure certvq beside the kernels that people use: time, memory and wrong codes.

In: cells, kinds of numbers, contenders. Out: records for JSON, and their tables and pictures. Must
not print, nor import `certvq.cli`. FAISS, torch, scikit-learn and vector-quantize-pytorch are
imported where they run: a contender whose library is missing is named as not installed.
"""

from certvq.bench._cells import CELLS as CELLS
from certvq.bench._cells import EXTRA_CELL as EXTRA_CELL
from certvq.bench._cells import Cell as Cell
from certvq.bench._cells import parse_cell as parse_cell
from certvq.bench._contenders import NAMES as NAMES
from certvq.bench._data import KINDS as KINDS
from certvq.bench._growth import GrowthConfig as GrowthConfig
from certvq.bench._growth import bench_growth as bench_growth
from certvq.bench._growth_picture import growth_picture as growth_picture
from certvq.bench._markdown import require_block as require_block
from certvq.bench._markdown import tables as tables
from certvq.bench._markdown import update_block as update_block
from certvq.bench._run import BenchConfig as BenchConfig
from certvq.bench._run import bench_assign as bench_assign
