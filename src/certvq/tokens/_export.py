"""Data sets in the formats of other loaders.

In: a data set. Out: a folder: arrays of NumPy, WebDataset tars, MDS shards (mosaicml-streaming), or
what `datasets.load_from_disk` reads. None of these libraries is imported.
"""

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from certvq._files.atomic import atomic_directory
from certvq._files.claim import claim_folder
from certvq._types import Progress, no_progress
from certvq.data._walk import mark_output
from certvq.errors import OptionError
from certvq.tokens._flat import set_json, write_flat
from certvq.tokens._part import part_schema
from certvq.tokens._set import TokenSet, open_tokens
from certvq.tokens._stored import Block
from certvq.tokens._write import code_type

_MDS_LIMIT: Final = 1 << 26  # bytes of a shard, that library's own choice


def export_tokens(
    path: str | Path, out: str | Path, to: str, *, progress: Progress = no_progress
) -> None:
    """Write a data set for another loader.

    Args:
        path: as for `open_tokens`.
        out: the folder to make; absent or empty.
        to: "npy": `codes.npy`, `offsets.npy` and `rows.jsonl`, to be mapped into memory.
            "webdataset": a tar for each part, with `KEY.codes.npy` and `KEY.json` for each row;
            dots in the last part of a key are written %2E, for that format ends a key at a dot.
            "mds": shards of mosaicml-streaming. "datasets": what `load_from_disk` of Hugging Face
            reads.
        progress: called after each row group.

    Raises:
        OptionError: an unknown format, or `out` is a file or holds something.
        FileFormatError: the set or a part of it is damaged; it is named.
        OSError: a file cannot be written.

    Guarantee: `out` is whole or as it was before. Codes have the smallest unsigned type.
    """
    writers: dict[str, Callable[[TokenSet, Path, Progress], None]] = {
        "npy": lambda data, folder, report: write_flat(data, folder, progress=report),
        "webdataset": _write_webdataset,
        "mds": _write_mds,
        "datasets": _write_datasets,
    }
    if to not in writers:
        raise OptionError(f"the format must be one of {', '.join(writers)}, got {to!r}")
    data, out = open_tokens(path), Path(out)
    claim_folder(out)
    with atomic_directory(out, replace=False) as folder:
        mark_output(folder)
        writers[to](data, folder, progress)


def _rows(block: Block) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Give what is known of each row, and its codes in the shape of its grid."""
    for number, about in enumerate(block.about()):
        codes = block.codes[block.offsets[number] : block.offsets[number + 1]]
        yield about, codes.reshape(about["shape"])


def _write_webdataset(data: TokenSet, folder: Path, progress: Progress) -> None:
    done = 0
    for part in data.parts:
        with tarfile.open(folder / f"part-{part.number:05d}.tar", "w") as tar:
            for block in data.stored(part).blocks():
                for about, codes in _rows(block):
                    key = _without_dots(about["key"])
                    array = io.BytesIO()
                    np.save(array, codes)
                    _add(tar, f"{key}.codes.npy", array.getvalue())
                    _add(tar, f"{key}.json", json.dumps(about).encode())
                done += block.codes.size
                progress("exporting", done, data.tokens)


def _without_dots(key: str) -> str:
    return key.replace("%", "%25").replace(".", "%2E")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _write_mds(data: TokenSet, folder: Path, progress: Progress) -> None:
    """Write shards: count, where each sample begins, the columns, and the samples themselves.

    A sample holds, in the order of the columns' names, the sizes of all columns and then their
    bytes.
    """
    kind = code_type(max(data.codebook_sizes)).to_pandas_dtype().__name__
    columns = {"codes": f"ndarray:{kind}", "key": "str", "shape": "json", "size": "json"}
    columns |= {"modality": "str"} | ({"side": "json"} if data.side else {})
    names = sorted(columns)
    meta: dict[str, Any] = {
        "column_encodings": [columns[name] for name in names],
        "column_names": names,
        "column_sizes": [None] * len(names),
        "compression": None,
        "format": "mds",
        "hashes": ["sha1"],
        "size_limit": _MDS_LIMIT,
        "version": 2,
    }
    header = json.dumps(meta, sort_keys=True).encode()
    shards: list[dict[str, Any]] = []
    samples: list[bytes] = []
    size = done = 0

    def close() -> None:
        if samples:
            shards.append(meta | _write_shard(folder, len(shards), samples, header))

    for block in data.blocks():
        for about, codes in _rows(block):
            sample = _sample(about, codes, names)
            if size + len(sample) > _MDS_LIMIT:
                close()
                samples, size = [], 0
            samples.append(sample)
            size += len(sample) + 4
        done += block.codes.size
        progress("exporting", done, data.tokens)
    close()
    (folder / "index.json").write_text(json.dumps({"shards": shards, "version": 2}))


def _sample(about: dict[str, Any], codes: np.ndarray, names: list[str]) -> bytes:
    texts = {name: about[name].encode() for name in ("key", "modality")}
    numbers = {n: json.dumps(about[n]).encode() for n in ("shape", "size", "side") if n in about}
    values = {**texts, **numbers, "codes": _mds_array(codes)}
    columns = [values[name] for name in names]
    sizes = np.array([len(column) for column in columns], "<u4").tobytes()
    return sizes + b"".join(columns)


def _mds_array(codes: np.ndarray) -> bytes:
    """Encode as "ndarray:TYPE" does: rank and type of the shape, the shape, the codes."""
    kind = next(k for k in ("u1", "<u2", "<u4", "<u8") if max(codes.shape) <= np.iinfo(k).max)
    shape = np.array(codes.shape, kind)
    code = {1: 0, 2: 1, 4: 2, 8: 3}[shape.itemsize]
    return bytes([codes.ndim << 2 | code]) + shape.tobytes() + codes.tobytes()


def _write_shard(folder: Path, number: int, samples: list[bytes], header: bytes) -> dict[str, Any]:
    begin = 4 + 4 * (len(samples) + 1) + len(header)
    offsets = begin + np.cumsum([0, *map(len, samples)])
    content = struct.pack("<I", len(samples)) + offsets.astype("<u4").tobytes() + header
    whole = content + b"".join(samples)
    name = f"shard.{number:05d}.mds"
    (folder / name).write_bytes(whole)
    digest = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    raw = {"basename": name, "bytes": len(whole), "hashes": {"sha1": digest}}
    return {"raw_data": raw, "samples": len(samples), "zip_data": None}


def _write_datasets(data: TokenSet, folder: Path, progress: Progress) -> None:
    """Write a file of Arrow's stream format for each part, and the two files that name them."""
    schema = part_schema(data.codebook_sizes, side=data.side)
    codes = code_type(max(data.codebook_sizes))
    features = {
        "key": _feature("string"),
        "modality": _feature("string"),
        "shape": {"feature": _feature("int32"), "_type": "List"},
        "size": {"feature": _feature("int64"), "_type": "List"},
        "codes": {"feature": _feature(str(codes)), "_type": "LargeList"},
    }
    if data.side:
        features["side"] = {"feature": _feature("float64"), "_type": "List"}
    info = {"features": features, "description": json.dumps(set_json(data))}
    kept = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    files: list[str] = []
    done = 0
    for number, part in enumerate(data.parts):
        files.append(f"data-{number:05d}-of-{len(data.parts):05d}.arrow")
        with pa.OSFile(str(folder / files[-1]), "wb") as sink, pa.ipc.new_stream(sink, kept) as out:
            for block in data.stored(part).blocks():
                out.write_table(_plain(block, kept))
                done += block.codes.size
                progress("exporting", done, data.tokens)
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1))
    identity = hashlib.sha256(json.dumps([vars(part) for part in data.parts], default=str).encode())
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": identity.hexdigest()[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=1))


def _feature(kind: str) -> dict[str, str]:
    return {"dtype": kind, "_type": "Value"}


def _plain(block: Block, schema: pa.Schema) -> pa.Table:
    """Return the columns of a row group with the types of parts, those of single files too."""
    columns = {name: block.table.column(name) for name in block.table.column_names}
    columns["modality"] = columns.get("modality", pa.array(block.modalities, pa.string()))
    return pa.table({field.name: columns[field.name] for field in schema}).cast(schema)
