"""Canonical codes against a judge that computes the module's own formula in exact numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import certvq
from certvq.errors import BackendUnavailableError, OptionError, ShapeError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import (
    CanonicalEncoder,
    Rung,
    _canonical,
    _numbers,
    canonical_codes,
)
from certvq.network._wide import Wide

CONV = nn.Conv2d


def seeded(seed, make):
    """Return a module in eval mode whose numbers follow from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make()
        for each in module.modules():
            if isinstance(each, nn.BatchNorm2d):
                nn.init.normal_(each.running_mean)
                nn.init.uniform_(each.running_var, 0.1, 2.0)
            if isinstance(each, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
                nn.init.normal_(each.weight)
                nn.init.normal_(each.bias)
    return module.eval()


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relu_net(sum_of):
    return nn.Sequential(
        CONV(2, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        sum_of(
            nn.ReLU(),
            CONV(4, 3, 3, padding=2, dilation=2, bias=False),
            nn.LeakyReLU(0.1),
            CONV(3, 4, 1),
        ),
        nn.MaxPool2d(2),
        nn.AvgPool2d(3, stride=1, padding=1),
        CONV(4, 2, 1, groups=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_codes_of_relu_networks_are_those_of_fractions(judge, sum_of, seed):
    encoder = seeded(seed, lambda: relu_net(sum_of))
    batch, codebook = numbers(seed, 2, 2, 9, 8), 0.2 * numbers(seed + 9, 30, 2)
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert torch.equal(found.codes, judge("fraction").codes(encoder, batch, codebook))
    assert found.counts()["FLOAT64"] == found.codes.numel()


def layers(sum_of, call, normed, snake, recurrent):
    """Return encoders of (2, 4, 4) that use all operators, a few in each."""
    last = CONV(4, 2, 1)
    first = CONV(2, 4, 3, padding=1)

    def swap(_, x):
        return x.transpose(1, 2, 0)

    def swap_back(_, x):
        return x.transpose(2, 0, 1)

    def turned(_, x):
        return x[[2, 3, 0, 1]]

    def middle(_, x):
        return x[1:3] * x[0:2] - x[2:4] / 3

    def of_snake(judge, x):
        third = judge.number(1 / 3)
        return judge.each(lambda v: v + third * (3 * v).sin() * (3 * v).sin(), x)

    def alphas(judge, x):
        return 1 + judge.number(0.3) * (x[:2] - 3 * x[2:])

    def tripled(_, x):
        return x[:, [i // 3 for i in range(12)]][:, :, [i // 2 for i in range(8)]]

    def interpolated(judge, x):
        """Along both axes: 4 places to 8, then 8 to 5 with corners aligned, in fractions."""
        for axis in (1, 2):
            for count, ends in ((8, False), (5, True)):
                old, parts = x.shape[axis], []
                for i in range(count):
                    at = (
                        Fraction(i * (old - 1), count - 1)
                        if ends
                        else Fraction(i, 2) - Fraction(1, 4)
                    )
                    at = max(at, Fraction(0))
                    low, high = int(at), min(int(at) + 1, old - 1)
                    share = judge.number((at - low).numerator) / (at - low).denominator
                    first, second = x.take(low, axis), x.take(high, axis)
                    parts.append(first + share * (second - first))
                x = np.stack(parts, axis)
        return x

    def bilinear(x):
        double = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        return nn.functional.interpolate(double, (5, 5), mode="bilinear", align_corners=True)

    def attended(judge, x, *, added=None):
        rows = x.reshape(len(x), -1).T
        scale = judge.number(0.5)  # 1 / sqrt(4)
        result = np.empty(rows.shape, object)
        for i, row in enumerate(rows):
            more = np.zeros(len(rows)) if added is None else added[i]
            keys = rows[more > -math.inf]
            raised = [judge.number(each) for each in more if each > -math.inf]
            weights = [
                (scale * sum(row * (2 * key)) + each).exp()
                for key, each in zip(keys, raised, strict=True)
            ]
            for c in range(rows.shape[1]):
                shares = (w * key[c] for w, key in zip(weights, keys, strict=True))
                result[i, c] = sum(shares) / sum(weights)
        return result.T.reshape(x.shape)

    def fused(x, **options):
        rows = x.flatten(2).mT
        found = nn.functional.scaled_dot_product_attention(rows, 2 * rows, rows, **options)
        return found.mT.reshape(x.shape)

    def window():
        """Return 0 for a place and the three before it, and minus infinity elsewhere."""
        apart = torch.arange(16)[:, None] - torch.arange(16)
        kept = (apart >= 0) & (apart < 4)
        return torch.zeros(16, 16).masked_fill(~kept, -math.inf)

    def slope():
        """Return -1 for each place before, the least number of float32 for each place after."""
        apart = torch.arange(16)[:, None] - torch.arange(16)
        least = torch.finfo(torch.float32).min
        return torch.where(apart >= 0, -apart.float(), least)

    def composed(x):
        rows = x.flatten(2)
        weights = torch.softmax(torch.bmm(rows.mT, 2 * rows) * 0.5, 2)
        return torch.bmm(rows, weights.mT).reshape(x.shape)

    return {
        "attention": (first, call(fused, attended), last),
        "attention, causal": (
            first,
            call(
                lambda x: fused(x, is_causal=True, scale=0.5),
                lambda judge, x: attended(judge, x, added=np.triu(np.full((16, 16), -math.inf), 1)),
            ),
            last,
        ),
        "attention, a window": (
            first,
            call(
                lambda x: fused(x, attn_mask=window() == 0, scale=0.5),
                lambda judge, x: attended(judge, x, added=window().double().numpy()),
            ),
            last,
        ),
        "attention, raised": (
            first,
            call(
                lambda x: fused(x, attn_mask=slope(), scale=0.5),
                lambda judge, x: attended(judge, x, added=slope().double().numpy()),
            ),
            last,
        ),
        "attention, composed": (first, call(composed, attended), last),
        "bilinear": (first, call(bilinear, interpolated), last),
        "snake, whole": (first, snake(4), last),
        "snake": (first, call(lambda x: x + 1 / 3 * torch.sin(3 * x).pow(2), of_snake), last),
        "alpha": (
            first,
            call(
                lambda x: torch.rsub(torch.sub(x[:, :2], x[:, 2:], alpha=3), 1, alpha=-0.3), alphas
            ),
        ),
        "nearest": (
            first,
            call(lambda x: nn.functional.interpolate(x, scale_factor=(3, 2)), tripled),
            last,
        ),
        "lstm": (first, recurrent(), last),
        "lstm, both ways": (first, recurrent(both=True), last),
        "elu": (first, nn.ELU(0.7), last),
        "silu": (first, nn.SiLU(), last),
        "cos": (first, call(torch.cos, lambda judge, x: judge.each(lambda v: v.cos(), x)), last),
        "gelu": (first, nn.GELU(), last),
        "gelu_tanh": (first, nn.GELU("tanh"), last),
        "tanh": (first, nn.Tanh(), nn.Sigmoid(), last),
        "group_norm": (first, nn.GroupNorm(2, 4), sum_of(nn.SiLU(), CONV(4, 4, 1)), last),
        "batch_norm": (first, nn.BatchNorm2d(4), last),
        "layer_norm": (
            first,
            call(lambda x: x.permute(0, 2, 3, 1), swap),
            nn.LayerNorm(4),
            nn.Linear(4, 4),
            call(lambda x: x.permute(0, 3, 1, 2), swap_back),
            nn.LayerNorm((4, 4)),
            last,
        ),
        "rms_norm": (first, nn.RMSNorm(4, eps=1e-5), last),
        "transposed": (
            first,
            nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (2, 0), (1, 0), groups=2, dilation=(1, 2)),
            CONV(6, 2, 1),
        ),
        "arithmetic": (first, call(lambda x: x[:, 1:3] * x[:, :2] - x[:, 2:] / 3, middle)),
        "weight_norm": (normed(), call(lambda x: torch.cat(x.split(2, 1)[::-1], 1), turned), last),
        "pooling": (first, nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(2), last),
    }


NAMES = [
    *("elu", "silu", "gelu", "gelu_tanh", "tanh", "group_norm", "batch_norm", "layer_norm"),
    *("arithmetic", "weight_norm", "pooling", "snake", "alpha", "nearest"),
    *("snake, whole", "rms_norm", "transposed", "bilinear"),
    *("attention", "attention, causal", "attention, composed", "attention, a window"),
    *("attention, raised", "lstm", "lstm, both ways", "cos"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_codes_of_each_operator_are_those_of_balls(judge, modules, name, leave_to):
    """Decided in float64, and all over again in pairs, and by balls alone."""
    encoder = seeded(3, lambda: nn.Sequential(*layers(*modules)[name]))
    batch, codebook = numbers(4, 1, 2, 4, 4), 0.5 * numbers(5, 40, 2)
    expected = judge("ball").codes(encoder, batch, codebook)
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert torch.equal(found.codes, expected)
    assert not found.open.any()
    for rung in (Rung.WIDER, Rung.EXACT):
        leave_to(rung)
        again = canonical_codes(encoder, batch, codebook=codebook)
        assert torch.equal(again.codes, expected)
        assert (again.decided_by == rung).all()


def test_one_sample_of_a_batch_may_be_open():
    """The other one needs no window of the exact rung."""
    encoder, codebook = seeded(0, lambda: CONV(1, 1, 2, bias=False)), torch.tensor([[0.0], [2.0]])
    nn.init.ones_(encoder.weight)
    batch = torch.tensor([0.25, 0.3]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert found.codes.flatten().tolist() == [0, 1]
    assert found.decided_by.flatten().tolist() == [Rung.EXACT, Rung.FLOAT64]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # what torch says to the flag of oneDNN
def test_codes_in_pairs_are_a_function_of_the_numbers(sum_of, leave_to):
    """Threads and oneDNN change no bit of the margins, and the batch no code."""
    block = sum_of(nn.GroupNorm(2, 4), nn.SiLU(), CONV(4, 4, 3, padding=1))
    encoder = seeded(3, lambda: nn.Sequential(CONV(2, 4, 3, padding=1), block, CONV(4, 2, 1)))
    batch, codebook = numbers(4, 3, 2, 6, 6), 0.5 * numbers(5, 40, 2)
    leave_to(Rung.WIDER)
    expected = canonical_codes(encoder, batch, codebook=codebook)
    assert expected.counts()["WIDER"] == expected.codes.numel()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        with torch.backends.mkldnn.flags(enabled=False):
            assert same(canonical_codes(encoder, batch, codebook=codebook), expected)
    finally:
        torch.set_num_threads(threads)
    single = [canonical_codes(encoder, each[None], codebook=codebook).codes for each in batch]
    assert torch.equal(torch.cat(single), expected.codes)


@pytest.mark.rows(
    ("layer", "passes"), [(nn.SiLU, "narrow wide wide"), (nn.Mish, "narrow wide narrow")]
)
def test_an_encoder_that_is_reused_leaves_out_what_decided_nothing(
    layer, passes, monkeypatch, leave_to
):
    """A pass in float64 that decided no token; one in pairs that mish has no form for."""
    leave_to(Rung.WIDER)
    run, kinds = _canonical.bounded_latents, []

    def counted(network, source, **named):
        kinds.append("wide" if isinstance(source.value, Wide) else "narrow")
        return run(network, source, **named)

    monkeypatch.setattr(_canonical, "bounded_latents", counted)
    encode = CanonicalEncoder(layer().eval(), codebook=torch.tensor([[0.0], [1.0]]))
    encode(torch.tensor([[0.3]]))  # a single token says little
    kinds.clear()
    first, again = (encode(torch.tensor([[0.3], [2.0]] * 32)) for _ in range(2))
    assert kinds == passes.split()
    assert same(first, again)
    assert first.codes.tolist() == [0, 1] * 32


def wrong_in_float32():
    """An encoder whose hidden numbers near 1e7 cancel in pairs; what is left is of order 1."""
    encoder = seeded(4, lambda: nn.Sequential(CONV(1, 64, 3, padding=1), nn.ReLU(), CONV(64, 2, 1)))
    with torch.no_grad():
        encoder[0].bias.fill_(1e7)
        encoder[2].weight[:, 1::2] = -encoder[2].weight[:, ::2]
    return encoder


@pytest.mark.slow
def test_a_network_that_float32_gets_wrong(judge):
    encoder = wrong_in_float32()
    batch = numbers(3, 1, 1, 4, 4)
    scale = judge("ball").run(encoder, judge("ball").array(batch[0]))
    spread = max(abs(float(each.mid())) for each in scale.flat)
    codebook = spread * numbers(5, 50, 2)
    expected = judge("ball").codes(encoder, batch, codebook)
    with torch.no_grad():
        latents = encoder(batch).movedim(1, -1).reshape(-1, 2)
    plain = certvq.assign(latents, codebook).codes.reshape(expected.shape)
    assert (plain != expected).float().mean() > 0.2
    assert torch.equal(canonical_codes(encoder, batch, codebook=codebook).codes, expected)


@pytest.fixture(scope="module")
def model():
    config = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=64)
    made = VQVAE(config, generator=torch.Generator().manual_seed(0))
    made(torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(1)))
    return made.eval()


def images(count):
    return torch.rand(count, 3, 18, 13, generator=torch.Generator().manual_seed(8))


@pytest.mark.slow
def test_codes_of_a_vqvae_are_those_of_its_own_parts(judge, call, model):
    """18 x 13 pixels are padded to 20 x 16, and centred at 0.5."""

    def padded(judge, x):
        rows = [min(i, 17) for i in range(20)], [min(i, 12) for i in range(16)]
        return x[:, rows[0]][:, :, rows[1]] - judge.number(0.5)

    blocks = [call(None, padded)]
    for each in model.encoder.body:
        inner = list(each) if isinstance(each, nn.Sequential) else [each]
        blocks += [
            call(None, lambda j, x, b=b: x + j.run(b.body, x)) if hasattr(b, "body") else b
            for b in inner
        ]
    batch, book = images(1), model.quantizer.code_vectors()
    expected = judge("fraction").codes(nn.Sequential(*blocks), batch, book)
    assert torch.equal(canonical_codes(model, batch).codes, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # what torch says to the flag of oneDNN
def test_codes_are_a_function_of_the_numbers(model):
    """Threads, batch, padding, type of number and oneDNN change nothing."""
    batch = images(8).bfloat16()
    model16 = VQVAE(model.config, generator=torch.Generator())
    model16.load_state_dict(model.state_dict())
    model16 = model16.eval().bfloat16()
    expected = canonical_codes(model16, batch).codes
    assert expected.unique().numel() > 5
    for dtype in (torch.float32, torch.float64):
        wide = VQVAE(model.config, generator=torch.Generator())
        wide.to(dtype).load_state_dict(model16.state_dict())
        assert torch.equal(canonical_codes(wide.eval(), batch.to(dtype)).codes, expected)
    single = [canonical_codes(model16, each[None]).codes for each in batch]
    assert torch.equal(torch.cat(single), expected)
    padded = nn.functional.pad(batch, (0, 3, 0, 2), mode="replicate")  # what the model does
    assert torch.equal(canonical_codes(model16, padded).codes, expected)
    longer = torch.cat([batch[:1], torch.zeros_like(batch[:4])])
    assert torch.equal(canonical_codes(model16, longer).codes[:1], expected[:1])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert torch.equal(canonical_codes(model16, batch).codes, expected)
    finally:
        torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(canonical_codes(model16, batch).codes, expected)


def test_margins_are_those_of_the_real_latents(judge, model):
    """A step of the margin keeps the code; margins of both rungs agree, but for their bounds."""
    batch = images(1)
    found = canonical_codes(model, batch)
    wide = VQVAE(model.config, generator=torch.Generator()).double()
    wide.load_state_dict(model.state_dict())
    rows = wide.eval().latents(batch.double()).reshape(-1, 4).detach()
    radius = certvq.stability_radius(rows, model.quantizer.code_vectors(), found.codes.reshape(-1))
    assert (found.margin.reshape(-1) < radius).all()
    assert torch.allclose(found.margin.reshape(-1), radius, atol=1e-9)


def test_bytes_stand_for_fractions_of_255(judge):
    """1/255 is no float: half-way between the codes is the float32 next to it."""
    encoder = CONV(1, 1, 1, bias=False).eval()
    nn.init.ones_(encoder.weight)
    batch = torch.ones(1, 1, 1, 1, dtype=torch.uint8)
    near = torch.tensor(1 / 255)
    codebook = torch.tensor([[float(near) - 0.25], [float(near) + 0.25]], dtype=torch.float64)
    below = judge("fraction").number(float(near)) * 255 > 1
    found = canonical_codes(encoder, batch, codebook=codebook)
    assert found.codes.item() == (0 if below else 1)
    tied = canonical_codes(encoder, near.reshape(1, 1, 1, 1), codebook=codebook)
    assert tied.codes.item() == 0


def test_one_code_is_always_nearest():
    found = canonical_codes(nn.Tanh().eval(), torch.zeros(1, 2, 3), codebook=torch.ones(1, 2))
    assert found.codes.tolist() == [[0, 0, 0]]
    assert found.margin.tolist() == [[math.inf] * 3]


def test_an_empty_batch_has_no_codes():
    found = canonical_codes(nn.Tanh().eval(), torch.zeros(0, 2, 3), codebook=torch.ones(1, 2))
    assert found.codes.shape == (0, 3)


def test_overflow_leads_to_the_exact_rung():
    """1e300 squared is beyond float64; the latent is not."""
    encoder = (
        nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double().eval()
    )
    for each in encoder:
        nn.init.constant_(each.weight, 1e300)
    with torch.no_grad():
        encoder[1].weight.copy_(torch.tensor([[1e-300]], dtype=torch.float64))
    batch = torch.tensor([[1e200]], dtype=torch.float64)
    found = canonical_codes(
        encoder, batch, codebook=torch.tensor([[1.0], [1e200]], dtype=torch.float64)
    )
    assert found.codes.tolist() == [1]
    assert found.decided_by.tolist() == [Rung.EXACT]


@pytest.mark.rows(
    ("change", "error", "text"),
    [
        ({"codebook": None}, OptionError, "got Tanh without a codebook"),
        ({"codebook": torch.ones(3, 5)}, ShapeError, r"codebook must be \(K, 2\).* got \(3, 5\)"),
        ({"precision": 64}, OptionError, "at least 128 bits, got 64"),
        ({"batch": torch.zeros(3)}, ShapeError, r"latents \(B, D, ...\), got shape \(3,\)"),
    ],
)
def test_arguments_that_do_not_fit(change, error, text):
    given = {"batch": torch.zeros(1, 2), "codebook": torch.ones(3, 2), **change}
    with pytest.raises(error, match=text):
        canonical_codes(nn.Tanh().eval(), **given)


def test_a_model_without_code_vectors_is_refused():
    config = VQVAEConfig(hidden=8, dim=2, quantizer="fsq", levels=(3, 3))
    with pytest.raises(OptionError, match="canonical_codes takes models with .*, got 'fsq'"):
        canonical_codes(VQVAE(config).eval(), torch.rand(1, 3, 8, 8))


def test_without_flint_an_error_says_what_to_install(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(_numbers, "import_module", missing)
    with pytest.raises(BackendUnavailableError, match=r"certvq\[canonical\]"):
        canonical_codes(nn.Tanh().eval(), torch.zeros(1, 2), codebook=torch.ones(3, 2))


def same(one, other):
    return torch.equal(one.codes, other.codes) and torch.equal(one.margin, other.margin)
