"""`bench/quality.py`: both sides of every pair train; verdicts and tables are right."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

pytest.importorskip("vector_quantize_pytorch")

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def quality():
    before = list(sys.path)
    sys.path.insert(0, str(BENCH))
    try:
        yield importlib.import_module("quality")
    finally:
        sys.path[:] = before


def test_pairs_have_equal_budgets_and_shapes(quality):
    """On maps: the same shapes of vectors and codes, in train and eval mode."""
    for pair in quality.pairs(quality.SMALL).values():
        ours = pair.ours("b c h w", torch.Generator().manual_seed(0))
        theirs = pair.on_maps()
        tokens = torch.randn(2, pair.dim, 20, 15)
        for training in (True, False):
            found, expected = (q.train(training)(tokens) for q in (ours, theirs))
            assert found[0].shape == expected[0].shape, pair.name
            places = [codes.flatten(1).shape for codes in (found[1], expected[1])]
            assert places[0] == places[1], pair.name
            assert found[2].shape == expected[2].shape == (), pair.name


def test_a_run_trains_saves_and_goes_on(quality, tmp_path, capsys):
    out, page = tmp_path / "quality.json", tmp_path / "page.md"
    page.write_text("# A page\n\n<!-- bench:begin -->\n<!-- bench:end -->\n")
    arguments = ["--families", "FSQ", "LFQ", "--steps", "1", "--out", str(out)]
    quality.main([*arguments, "--seeds", "1"])
    first = json.loads(out.read_text())["cells"]
    assert [(one["family"], one["side"]) for one in first] == [
        ("FSQ", "certvq"),
        ("FSQ", "original"),
        ("LFQ", "certvq"),
        ("LFQ", "original"),
    ]
    capsys.readouterr()
    quality.main([*arguments, "--seeds", "1", "--update", str(page)])
    captured = capsys.readouterr()
    assert json.loads(out.read_text())["cells"] == first
    assert captured.err == "", "nothing is trained twice"
    assert captured.out.strip() in page.read_text()
    assert "| FSQ | " in captured.out


def test_a_family_is_trained_anew_among_the_others(quality, tmp_path, capsys, monkeypatch):
    """Its row changes, the other rows stay, and a family without all seeds has none."""
    out, trained = tmp_path / "quality.json", []

    def cell(pair, side, *, seed, steps, photographs):
        trained.append((pair.name, side, seed))
        return made(pair.name, side, seed, 30.0)

    def made(family, side, seed, psnr):
        known = {"family": family, "side": side, "seed": seed, "steps": 7}
        return {**known, "psnr": psnr, "usage": 0.5}

    sides = [(seed, side) for seed in range(2) for side in quality.SIDES]
    cells = [made(name, side, seed, 20.0) for name in ("LFQ", "FSQ") for seed, side in sides]
    quality.save(out, [*cells, made("FSP", "certvq", 0, 10.0)])
    monkeypatch.setattr(quality, "cell", cell)
    arguments = ["--families", "FSQ", "--steps", "7", "--seeds", "2", "--out", str(out)]
    assert quality.main(arguments) == 0
    assert trained == []
    assert quality.main([*arguments, "--again"]) == 0
    assert trained == [("FSQ", side, seed) for seed, side in sides]
    rows = [line for line in capsys.readouterr().out.splitlines() if "±" in line]
    lines = [f"| {name} | {psnr} ± 0.00" for name, psnr in (("FSQ", "30.00"), ("LFQ", "20.00"))]
    assert [row[: len(line)] for row, line in zip(rows[2:], lines, strict=True)] == lines


def test_both_sides_start_alike(quality):
    """FSQ has no state and draws nothing: after one step both sides give the same picture."""
    photographs = quality.example.photographs()
    pair = quality.pairs(quality.SMALL)["FSQ"]
    ours, theirs = (
        quality.cell(pair, side, seed=1, steps=1, photographs=photographs) for side in quality.SIDES
    )
    assert ours["psnr"] == pytest.approx(theirs["psnr"], abs=0.05)


def test_worse_is_what_the_seeds_do_not_explain(quality):
    theirs = [20.0, 21.0, 22.0, 23.0, 24.0]
    assert quality.worse([value - 0.1 for value in theirs], theirs)
    assert not quality.worse([value + 0.1 for value in theirs], theirs)
    assert not quality.worse([19.0, 22.0, 21.0, 24.0, 23.0], theirs), "mean -0.2, spread 1.1"
    assert quality.worse([19.0, 20.1, 21.0, 22.1, 23.0], theirs), "mean -1, spread 0.05"
    assert not quality.worse([1.0], [2.0]), "one seed says nothing"


def test_the_exit_status_tells_a_worse_family(quality, tmp_path, capsys):
    out = tmp_path / "quality.json"
    cells = [
        {"family": "FSQ", "side": side, "seed": seed, "steps": 1, "psnr": psnr, "usage": 0.5}
        for seed in range(3)
        for side, psnr in (("certvq", 10.0 + 0.01 * seed), ("original", 12.0))
    ]
    quality.save(out, cells)
    arguments = ["--families", "FSQ", "--steps", "1", "--seeds", "3", "--out", str(out)]
    assert quality.main(arguments) == 1
    assert "| FSQ | 10.01 ± 0.01 | 12.00 ± 0.00 | 50.00 ± 0.00 | 50.00 ± 0.00 | PSNR |" in (
        capsys.readouterr().out
    )
    for one in cells:
        one["psnr"] = 12.0
    quality.save(out, cells)
    assert quality.main(arguments) == 0


@pytest.mark.parametrize("name", ["LFQ", "LFQ, spherical", "FSP"])
def test_these_train_by_the_gradients_of_the_original(quality, name):
    """But for rounding, and for the 1e-5 at which the original's LFQ ends its logarithms.

    What its table says of them is then the noise of seeds, and that of `FSP`'s own draws.
    """
    pair = quality.pairs(quality.SMALL)[name]
    layers = pair.ours("b n d", torch.Generator().manual_seed(0)), pair.adapted()
    latents = 0.7 * torch.randn(2, 2000, pair.dim, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    losses, slopes, through = [], [], []
    for layer in layers:
        given = latents.clone().requires_grad_()
        vectors, _, loss = layer.train()(given)
        losses.append(loss.detach())
        slopes += torch.autograd.grad(loss, given, retain_graph=True)
        through += torch.autograd.grad((vectors * weights).sum(), given)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=0)
    largest = float(slopes[1].abs().max())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=2e-3 * largest)
    torch.testing.assert_close(through[0], through[1], rtol=1e-5, atol=1e-5)
