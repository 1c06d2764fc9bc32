"""Read a token data set with pandas, polars, DuckDB and Hugging Face's datasets.

Each library that is installed counts the codes of every key, and none of them needs certvq: parts
are plain Parquet. A small data set is written first, so that the example runs by itself.
"""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

import certvq
from certvq.tokens import DatasetWriter, Job


def write(folder: Path) -> None:
    """Write a data set of two parts of three rows."""
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randn(300, 8, generator=generator)
    job = Job.of(torch.nn.Identity(), [codebook], modality="latent", inputs=["first", "second"])
    with DatasetWriter(folder, job) as writer:
        for number in writer.missing:
            rows = [torch.randn(10 * (row + 1), 8, generator=generator) for row in range(3)]
            found = [certvq.assign(latents, codebook) for latents in rows]
            columns = {
                "key": [f"{job.inputs[number]}/{row}" for row in range(3)],
                "shape": [(len(latents),) for latents in rows],
                "size": [()] * 3,
                "codes": [each.codes for each in found],
                "decided_by": [tuple(each.counts().values()) for each in found],
            }
            writer.write(number, [columns])


def with_pandas(folder: Path) -> dict[str, int]:
    """Read the folder of the parts as one table."""
    import pandas as pd

    table = pd.read_parquet(folder / "parts")
    return dict(zip(table["key"], table["codes"].map(len), strict=True))


def with_polars(folder: Path) -> dict[str, int]:
    """Read all parts, lazily."""
    import polars as pl

    table = pl.scan_parquet(folder / "parts" / "*.parquet").select(
        "key", pl.col("codes").list.len()
    )
    return dict(table.collect().iter_rows())


def with_duckdb(folder: Path) -> dict[str, int]:
    """Ask in SQL."""
    import duckdb

    parts = duckdb.read_parquet(str(folder / "parts" / "*.parquet"))
    return dict(parts.project("key, len(codes)").fetchall())


def with_datasets(folder: Path) -> dict[str, int]:
    """Load the parts as a data set of Hugging Face."""
    import datasets

    datasets.disable_progress_bars()
    files, cache = str(folder / "parts" / "*.parquet"), str(folder / "cache")
    table = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    return {row["key"]: len(row["codes"]) for row in table}


READERS: dict[str, Callable[[Path], dict[str, int]]] = {
    "pandas": with_pandas,
    "polars": with_polars,
    "duckdb": with_duckdb,
    "datasets": with_datasets,
}


def main() -> None:
    """Print what each library counts."""
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch) / "tokens")
        for name, read in READERS.items():
            if find_spec(name) is None:
                print(f"{name}: not installed")
                continue
            print(f"{name}: {read(Path(scratch) / 'tokens')}")


if __name__ == "__main__":
    main()
