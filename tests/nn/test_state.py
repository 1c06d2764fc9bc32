"""Life of a state: every layer through every way of saving, loading, copying and averaging.

All families of certvq.nn and all classes of the compat module are members of one model, so that a
way has to be walked only once. Afterwards each has the codes that it had before, and where the way
says that it keeps the whole state, every tensor of it, to the bit. docs/state.md has a row for each
way.
"""

import copy
import importlib.util
import pickle
from pathlib import Path

import huggingface_hub
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from certvq.compat import vector_quantize_pytorch as compat
from certvq.nn import LFQ, EvoLFQ, HierarchicalVQ

pytest.importorskip("vector_quantize_pytorch")
accelerate = pytest.importorskip("accelerate")
lightning = pytest.importorskip("lightning")
transformers = pytest.importorskip("transformers")

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "state.md"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLASSES = load(TESTS / "compat" / "vector_quantize_pytorch" / "_classes.py")


def families(seed):
    """Make every layer of certvq.nn, each with a generator of its own, and the latents' shape."""
    for path in sorted((TESTS / "nn").glob("_cases_*.py")):
        for name, make, *_ in load(path).CASES:
            generator = torch.Generator().manual_seed(seed)
            yield f"nn {name}", make(layout="b n d", generator=generator)
    generator = torch.Generator().manual_seed(seed)
    yield "nn hierarchical", HierarchicalVQ(4, 6, (1, 8), layout="b n d", generator=generator)
    yield "nn evo", EvoLFQ(nn.Linear(4, 4), nn.Linear(4, 4), LFQ(4), generator=generator)


def classes():
    """Make every class of the compat module with each of its options."""
    for name, listed in CLASSES.OPTIONS.items():
        for place, options in enumerate(listed):
            yield f"compat {name} {place}", CLASSES.build(compat, name, options)
    evo = compat.EvoLFQ(nn.Linear(6, 6), nn.Linear(6, 6), dim=6)
    yield "compat EvoLFQ 0", evo


class Everything(nn.Module):
    """Every layer there is, in eval mode; the seed decides what they draw first."""

    def __init__(self, seed=1):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = [*families(seed), *classes()]
        self.names = [name for name, _ in made]
        self.layers = nn.ModuleList(layer for _, layer in made)
        self.eval()

    def inputs(self, seed):
        for name in self.names:
            package, kind, *_ = name.split()
            if package == "compat":
                yield CLASSES.batch(kind, seed)
            else:
                yield torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def codes(self, kind=torch.float32):
        """Return what each layer chooses for a batch, by name."""
        pairs = zip(self.names, self.layers, self.inputs(9), strict=True)
        return {name: chosen(name, layer, x.to(kind)) for name, layer, x in pairs}

    def trained(self):
        self.train()
        with torch.random.fork_rng():
            for step in range(2):
                for layer, x in zip(self.layers, self.inputs(step), strict=True):
                    layer(x)
        return self.eval()


def chosen(name, layer, x):
    if name.startswith("nn "):
        return layer.encode(x)
    more = {"deterministic": True, "return_indices": True} if "BinaryMapper" in name else {}
    found = layer(x, **more)
    return found if isinstance(found, torch.Tensor) else found[1]


pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def model():
    return Everything(0).trained()


@pytest.fixture(scope="module")
def codes(model):
    return model.codes()


def differing(found, expected):
    """Name the layers whose codes differ."""

    def pieces(codes):
        return codes if isinstance(codes, tuple) else (codes,)

    return [
        name
        for name, codes in found.items()
        if not all(map(torch.equal, pieces(codes), pieces(expected[name])))
    ]


def on_meta():
    with torch.device("meta"):
        return Everything()


def loaded(state, fresh=None, **options):
    fresh = Everything() if fresh is None else fresh
    fresh.load_state_dict(state, **options)
    return fresh


def torch_save(model, folder):
    torch.save(model.state_dict(), folder / "state.pt")
    return loaded(torch.load(folder / "state.pt", weights_only=True))


def save_file(model, folder):
    safetensors.torch.save_file(model.state_dict(), folder / "state.safetensors")
    return loaded(safetensors.torch.load_file(folder / "state.safetensors"))


def save_model(model, folder):
    fresh = Everything()
    safetensors.torch.save_model(model, str(folder / "model.safetensors"))
    assert safetensors.torch.load_model(fresh, str(folder / "model.safetensors")) == (set(), [])
    return fresh


class Config(transformers.PretrainedConfig):
    model_type = "everything"


class Pretrained(transformers.PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.everything = Everything()
        self.post_init()


def from_pretrained(model, folder):
    whole = Pretrained(Config())
    whole.everything = model
    whole.save_pretrained(folder)
    return Pretrained.from_pretrained(folder).everything


class Shared(nn.Module, huggingface_hub.PyTorchModelHubMixin):
    def __init__(self):
        super().__init__()
        self.everything = Everything()


def hub_mixin(model, folder):
    whole = Shared()
    whole.everything = model
    whole.save_pretrained(folder)
    return Shared.from_pretrained(folder).everything


def with_accelerate(model, folder):
    one = accelerate.Accelerator(cpu=True)
    one.prepare(model)
    one.save_state(str(folder))
    fresh, other = Everything(), accelerate.Accelerator(cpu=True)
    other.prepare(fresh)
    other.load_state(str(folder))
    return fresh


class Lit(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.everything = Everything()


def with_lightning(model, folder):
    whole = Lit()
    whole.everything = model
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(whole)
    trainer.save_checkpoint(folder / "lit.ckpt")
    return Lit.load_from_checkpoint(folder / "lit.ckpt", weights_only=True).everything


def with_dcp(model, folder):
    dcp.save(model.state_dict(), checkpoint_id=folder, no_dist=True)
    fresh = Everything()
    state = fresh.state_dict()
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    return loaded(state, fresh)


def with_dcp_functions(model, folder):
    fresh = Everything()
    dcp.save(dcp_state.get_model_state_dict(model), checkpoint_id=folder, no_dist=True)
    state = dcp_state.get_model_state_dict(fresh)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    dcp_state.set_model_state_dict(fresh, state)
    return fresh


def averaged(average):
    def walk(model, folder):
        del folder
        mean = AveragedModel(model, use_buffers=True, multi_avg_fn=average)
        for _ in range(3):
            mean.update_parameters(model)
        return mean.module

    return walk


def ema_by_hand(model, folder):
    del folder
    mean = copy.deepcopy(model.state_dict())
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            mean[name].lerp_(value, 0.01)
    return loaded(mean)


WAYS = {
    "`load_state_dict`": lambda model, _: loaded(model.state_dict()),
    "`load_state_dict(assign=True)`": lambda m, _: loaded(m.state_dict(), assign=True),
    "meta device, `load_state_dict(assign=True)`": lambda model, _: loaded(
        copy.deepcopy(model.state_dict()), on_meta(), assign=True
    ),
    "meta device, `to_empty`": lambda model, _: loaded(
        model.state_dict(), on_meta().to_empty(device="cpu")
    ),
    "`torch.save`, `torch.load(weights_only=True)`": torch_save,
    "`copy.deepcopy`": lambda model, _: copy.deepcopy(model),
    "`pickle`": lambda m, _: pickle.loads(pickle.dumps(m)),  # noqa: S301 (our own bytes)
    "safetensors `save_file`": save_file,
    "safetensors `save_model`": save_model,
    "transformers `from_pretrained`": from_pretrained,
    "`PyTorchModelHubMixin`": hub_mixin,
    "accelerate `save_state`": with_accelerate,
    "Lightning checkpoint": with_lightning,
    "`torch.distributed.checkpoint`": with_dcp,
    "`get_model_state_dict`": with_dcp_functions,
}
"""Ways that keep the whole state, the generators' included."""

MEANS = {
    "`AveragedModel(use_buffers=True)`": averaged(None),
    "`AveragedModel`, `get_ema_multi_avg_fn`": averaged(get_ema_multi_avg_fn(0.9)),
    "averaging state dicts by hand": ema_by_hand,
}
"""Averages of equal models: they have its codes."""


@pytest.mark.parametrize("way", WAYS)
def test_a_state_is_kept(way, model, codes, tmp_path):
    found = WAYS[way](model, tmp_path)
    state, expected = found.state_dict(), model.state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in state if not torch.equal(state[name], expected[name])] == []
    assert differing(found.eval().codes(), codes) == []


@pytest.mark.parametrize("way", MEANS)
def test_a_mean_of_equal_models_has_their_codes(way, model, codes, tmp_path):
    assert differing(MEANS[way](model, tmp_path).eval().codes(), codes) == []


def test_a_fresh_model_has_other_codes(codes):
    """So that the comparisons above can fail."""
    assert len(differing(Everything().codes(), codes)) > len(codes) / 2


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=str)
def test_narrow_models_keep_their_codes(kind, model, tmp_path):
    small = copy.deepcopy(model).to(kind)
    expected = small.codes(kind)
    torch.save(small.state_dict(), tmp_path / "narrow.pt")
    state = torch.load(tmp_path / "narrow.pt", weights_only=True)
    assert differing(loaded(state, Everything().to(kind)).codes(kind), expected) == []


def test_half_and_back_changes_no_layer_without_weights(model, codes):
    found = copy.deepcopy(model).half().float().codes()
    without = [
        name
        for name, layer in zip(model.names, model.layers, strict=True)
        if not any(value.is_floating_point() for value in layer.state_dict().values())
    ]
    assert len(without) > 10
    assert differing({name: found[name] for name in without}, codes) == []


def test_a_part_of_a_state_loads_that_part(model, codes):
    """With ``strict=False``: the layers that the state holds, and no other."""
    half = {k: v for k, v in model.state_dict().items() if int(k.split(".")[1]) % 2}
    fresh = Everything()
    before = fresh.codes()
    assert not fresh.load_state_dict(half, strict=False).unexpected_keys
    expected = {n: codes[n] if place % 2 else before[n] for place, n in enumerate(model.names)}
    assert differing(fresh.codes(), expected) == []
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict(half)


def test_every_entry_is_a_tensor_that_any_format_can_hold(model):
    """Of its own memory, in rows; accelerate takes empty tensors for shared ones and keeps one."""
    places = {}
    for name, value in model.state_dict().items():
        assert isinstance(value, torch.Tensor), name
        assert value.numel(), name
        assert value.is_contiguous(), name
        places.setdefault(value.untyped_storage().data_ptr(), []).append(name)
    assert [names for names in places.values() if len(names) > 1] == []


def test_every_buffer_is_saved(model):
    """What no file holds loaders leave on meta, or fill with anything."""
    assert {name for name, _ in model.named_buffers()} <= model.state_dict().keys()


def test_layers_are_built_of_tensors_that_have_shapes_alone():
    """As planners of memory do."""
    with FakeTensorMode():
        planned = dict(families(0))
    for name, layer in families(0):
        for kind in ("named_parameters", "named_buffers"):
            shapes = {part: tensor.shape for part, tensor in getattr(planned[name], kind)()}
            assert shapes == {part: tensor.shape for part, tensor in getattr(layer, kind)()}, name


def test_the_page_has_a_row_for_each_way():
    table = PAGE.read_text().split("| way |")[1].split("\n\n")[0]
    assert [*WAYS, *MEANS] == [line.split("|")[1].strip() for line in table.splitlines()[2:]]
