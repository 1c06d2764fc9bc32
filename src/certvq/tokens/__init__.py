"""Tokens: certified codes of photographs, token files, and data sets of any size.

In: a model and photographs, rows of codes, or files. Out: certified codes with their evidence,
Parquet that is checked when read, reconstructions, and what trains a language model. Must not
import train, report or anything above.
"""

from certvq.tokens._decode import decode_tokens as decode_tokens
from certvq.tokens._encode import Encoded as Encoded
from certvq.tokens._encode import EncodedPhotograph as EncodedPhotograph
from certvq.tokens._encode import encode_photographs as encode_photographs
from certvq.tokens._export import export_tokens as export_tokens
from certvq.tokens._job import Job as Job
from certvq.tokens._job import TokenCodebook as TokenCodebook
from certvq.tokens._part import Failed as Failed
from certvq.tokens._part import Part as Part
from certvq.tokens._part import write_part as write_part
from certvq.tokens._pattern import Pattern as Pattern
from certvq.tokens._read import read_tokens as read_tokens
from certvq.tokens._record import TokenFile as TokenFile
from certvq.tokens._record import TokenHeader as TokenHeader
from certvq.tokens._record import TokenRecord as TokenRecord
from certvq.tokens._set import TokenSet as TokenSet
from certvq.tokens._set import is_data_set as is_data_set
from certvq.tokens._set import open_tokens as open_tokens
from certvq.tokens._stats import CodebookStats as CodebookStats
from certvq.tokens._stats import TokenStats as TokenStats
from certvq.tokens._stats import token_stats as token_stats
from certvq.tokens._stats import write_histogram as write_histogram
from certvq.tokens._stream import TokenStream as TokenStream
from certvq.tokens._verify import Problem as Problem
from certvq.tokens._verify import VerifyReport as VerifyReport
from certvq.tokens._verify import verify_tokens as verify_tokens
from certvq.tokens._windows import TokenDataset as TokenDataset
from certvq.tokens._write import write_tokens as write_tokens
from certvq.tokens._writer import DatasetWriter as DatasetWriter
