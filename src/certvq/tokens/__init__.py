"""Photographs to certified tokens, tokens to a file, and back to pictures.

In: a model and photographs, or a token file. Out: certified codes with their evidence, a Parquet
file that is checked when read, reconstructions. Must not import train, report or anything above.
"""

from certvq.tokens._decode import decode_tokens as decode_tokens
from certvq.tokens._encode import Encoded as Encoded
from certvq.tokens._encode import EncodedPhotograph as EncodedPhotograph
from certvq.tokens._encode import encode_photographs as encode_photographs
from certvq.tokens._job import Job as Job
from certvq.tokens._job import TokenCodebook as TokenCodebook
from certvq.tokens._part import Failed as Failed
from certvq.tokens._part import Part as Part
from certvq.tokens._part import write_part as write_part
from certvq.tokens._read import read_tokens as read_tokens
from certvq.tokens._record import TokenFile as TokenFile
from certvq.tokens._record import TokenHeader as TokenHeader
from certvq.tokens._record import TokenRecord as TokenRecord
from certvq.tokens._write import write_tokens as write_tokens
from certvq.tokens._writer import DatasetWriter as DatasetWriter
