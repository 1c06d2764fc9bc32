"""The benchmark as a whole, with stand-ins for the peers."""

import json

import pytest

import certvq
from certvq import _native
from certvq.bench import BenchConfig, Cell, _free_memory, _run, bench_assign
from certvq.bench import _measure as measuring
from certvq.bench._contender import Contender
from certvq.bench._contenders import contenders
from certvq.errors import BackendUnavailableError, OptionError

pytestmark = pytest.mark.slow

CELL = Cell(40, 6, 3)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(measuring, "PAUSE", 0.0)
    monkeypatch.setattr(measuring, "SHORTEST", 0.0)


def config(**changes):
    options = {"cells": (CELL,), "kinds": ("normal",), "rounds": 1, "threads": 1, "memory": False}
    return BenchConfig(**{**options, **changes})


@pytest.mark.usefixtures("stand_ins")
def test_the_record_is_returned_and_written(tmp_path):
    calls = []
    found = bench_assign(config(), out=tmp_path / "new", progress=lambda *call: calls.append(call))
    assert json.loads((tmp_path / "new" / "assign.json").read_text()) == found
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["assign.json"]
    assert calls == [("cells", 0, 1), ("cells", 1, 1)]
    (result,) = found["results"]
    assert result["cell"] == "40x6x3"
    assert result["decided_by"] == {"filter": 40, "refined": 0, "exact": 0}
    assert (result["audited_rows"], result["confirmed"]) == (40, True)
    entries = result["contenders"]
    assert entries["certvq"]["wrong_codes"] == 0
    assert 0 < entries["zeros"]["wrong_codes"] <= 40
    assert entries["fails"] == {"status": "failed: MemoryError: no room left"}
    assert entries["absent"] == {"status": "not installed: no_such_module"}
    assert [entry["contender"] for entry in found["summary"]] == ["zeros"]


@pytest.mark.usefixtures("stand_ins")
def test_certvq_is_measured_whoever_is_asked_for():
    (result,) = bench_assign(config(names=("zeros",)))["results"]
    assert list(result["contenders"]) == ["certvq", "zeros"]


@pytest.mark.usefixtures("stand_ins")
def test_rows_that_are_contested_are_audited(monkeypatch):
    audited = []
    audit = certvq.audit

    def remember(latents, codebook, codes):
        audited.append(len(codes))
        return audit(latents, codebook, codes)

    monkeypatch.setattr(certvq, "audit", remember)
    bench_assign(config(cells=(Cell(4000, 6, 3),), names=("zeros",)))
    assert 256 < audited[0] <= 256 + 64


def test_what_does_not_fit_is_not_run(own, monkeypatch):
    def fail(codebook):
        assert len(codebook) == 1, "prepared although there is no room"
        return lambda latents: latents[:, 0]

    large = Contender("large", (), fail, 3, "a note")
    monkeypatch.setattr(_run, "contenders", lambda *args: {"certvq": own, "large": large})
    monkeypatch.setattr(_free_memory, "free_bytes", lambda: 4 * 3 * 40 * 6 * 2 - 1)
    found = bench_assign(config(memory=True))
    entry = found["results"][0]["contenders"]["large"]
    assert entry == {"status": "skipped: needs about 2.68e-06 GiB"}
    assert (found["summary"], found["notes"]) == ([], {"large": "a note"})


@pytest.mark.usefixtures("stand_ins")
def test_memory_is_measured_where_it_is_asked_for():
    (result,) = bench_assign(config(names=("certvq",), memory=True))["results"]
    assert result["contenders"]["certvq"]["peak_mib"] >= 0


def test_latents_of_a_model_take_the_rows_of_the_cells(model_dir):
    chosen = config(
        cells=(Cell(40, 6, 3), Cell(40, 9, 2), Cell(20, 6, 3)),
        kinds=("latents", "offset-latents", "sphere"),
        model_dir=model_dir,
        names=("certvq",),
    )
    found = [(result["kind"], result["cell"]) for result in bench_assign(chosen)["results"]]
    assert found == [
        ("latents", "40x8x4"),
        ("latents", "20x8x4"),
        ("offset-latents", "40x8x4"),
        ("offset-latents", "20x8x4"),
        ("sphere", "40x6x3"),
        ("sphere", "40x9x2"),
        ("sphere", "20x6x3"),
    ]


@pytest.mark.isa
def test_certvq_is_held_to_each_instruction_set():
    isas = tuple(_native.isas())
    found = bench_assign(config(names=("certvq",), isas=isas))["results"][0]["contenders"]
    for isa in isas:
        assert found[f"certvq ({isa})"]["wrong_codes"] == 0
    held = contenders("auto", isas)
    assert [held[f"certvq ({isa})"].environment for isa in isas] == [
        {"CERTVQ_ISA": isa} for isa in isas
    ]


def test_without_a_kind_all_that_are_possible_are_measured(tmp_path):
    assert BenchConfig().kinds == ("normal", "sphere")
    kinds = BenchConfig(model_dir=tmp_path).kinds
    assert kinds == ("normal", "sphere", "latents", "offset-latents")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kinds": ("nope",)}, "kind must be one of normal, sphere, .*; got 'nope'"),
        ({"names": ("nope",)}, "contender must be one of certvq, faiss, .*; got 'nope'"),
        ({"isas": ("nope",)}, "instruction set must be one of .*portable; got 'nope'"),
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"threads": -1}, "threads must be at least 1, got -1"),
        ({"kinds": ("latents",)}, "need a trained model; give --model DIR"),
    ],
)
def test_bad_options_are_refused(changes, text):
    with pytest.raises(OptionError, match=text):
        config(**changes)


def test_a_bad_place_and_an_unknown_backend_are_found_out_before_measuring(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="file: must be a folder"):
        bench_assign(config(), out=tmp_path / "file")
    with pytest.raises(BackendUnavailableError, match="got 'nope'"):
        bench_assign(config(backend="nope"), out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
