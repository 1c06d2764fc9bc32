"""Run a model in two ways, and say which codes could differ and which do.

In: a torch module and data. Out: `StabilityReport`. Must not leave a trace in the module.
"""

from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from certvq.errors import UnknownQuantizerError
from certvq.inspect._arguments import batches, require_call, require_module
from certvq.inspect._running import run_model
from certvq.inspect._stability.canonical import Canonical, marks, require_canonical
from certvq.inspect._stability.compare import Tokens, compare, moved_by, pair
from certvq.inspect._stability.levels import levels_of
from certvq.inspect._stability.record import Place, Recorder, Run, recording, unreported
from certvq.inspect._stability.report import StabilityReport
from certvq.inspect._stability.second import Call, Perturbation, Second, second_run
from certvq.inspect._stability.tally import Tally


def stability_report(
    model: nn.Module,
    data: Any,
    *,
    perturbation: Perturbation = "precision",
    call: Call | None = None,
    canonical: Canonical | None = None,
) -> StabilityReport:
    """Say which tokens of a model could get another code from the noise of its encoder.

    The codes are a function of the latents alone; the latents are not one of the image alone, for
    an encoder rounds otherwise in another precision, batch or device. The model runs twice on each
    batch, in eval mode and without gradients; each token's noise, the distance between its two
    latents, is compared with its `certvq.stability_radius` in the first run. A token whose noise is
    below its radius provably keeps its nearest code; that none of these got another one is checked.

    Args:
        model: a module that holds layers of `certvq.nn` that search a codebook (`VectorQuantize`,
            `SimVQ`, `RandomProjectionQuantizer`, alone or in others) or compare each feature with
            thresholds (`FSQ`, `LFQ`; `LatentQuantize`, a codebook for each feature), such as
            `certvq.models.VQVAE`, or quantizers that `certvq.audit_module` knows, patched or not.
        data: a tensor, which is one batch; or an iterable of batches, tensors or dicts of keyword
            arguments, or anything that `call` takes.
        perturbation: what differs in the second run.

            - ``"precision"``: a copy of the model in float64 runs on the batch in float64.
            - ``"bfloat16"``: the model runs under bfloat16 autocast.
            - ``"batch"``: each sample, an entry of the batch's first axis, runs alone.
            - a module: it runs in the model's place, for example a copy on another device, where
              the tensors of the batch are moved to.
            - a function: ``perturbation(model, batch)`` runs the model in some other way; it may
              do so in pieces, each of which runs the whole model.
            - a number: there is no second run, and each latent may move by that Euclidean distance,
              finite and at least 0.
        call: ``call(model, batch)`` runs the model, for example
            ``lambda model, batch: model.encode(batch)``; by default ``model(batch)``, or
            ``model(**batch)`` for a dict.
        canonical: what gives the canonical codes of a batch,
            ``certvq.network.CanonicalEncoder(model)``; the report then says which tokens have
            another code in either run.

    Returns:
        A `StabilityReport`, with one `LayerStability` for each codebook and level. Token n of the
        first run is compared with token n of the second, in the order in which a layer's calls hand
        them to the search; where the second run is in pieces, that order has to be by samples.

    Raises:
        UnknownQuantizerError: there is no quantizer that is known, or the data reach none of them.
        NonFiniteError: NaN or infinity reaches a quantizer; names the layer, row and column.
        ShapeError: a layer gets other numbers of tokens or calls in the second run, or there is not
            one canonical code for each token.
        OptionError: the code vectors differ between the runs, as those may that a layer computes
            (`SimVQ`) in another precision; or a `perturbation` that is none of the above, or that
            cannot cut the batch; or a `canonical` that is no function.
        CertificateError: a token below its radius has another nearest code, which would be an error
            of certvq.

    Guarantee: a token that is not in `could_flip` (nor in `after_flip`) has the same lowest nearest
        code in both runs, or wherever its latent moves within the distance that was given:
        ``isNearestCode_of_small_perturbation``. The noise is an upper bound, the radius a lower
        one, so tokens in `could_flip` may well keep their code. The radius of a scalar quantizer is
        its distance to the nearest threshold of a feature. Nothing is claimed of runs other than
        these two, nor of the model's own argmin where its codes are not certified. A token that is
        in neither list of `LayerStability.canonical`, and not open, has the code of the
        real-valued network in both runs (`certvq.canonical_codes`).
    Cost: two runs of the model, and for each layer two searches and one radius, O(N K D); memory
        for the latents of two runs of a batch, and 19 bytes for each token and codebook.

    Example:
        >>> import certvq
        >>> from certvq.models import VQVAE, VQVAEConfig
        >>> model = VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0))
        >>> images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> report = certvq.stability_report(model, images, perturbation="batch")
        >>> report.tokens, report.flips <= report.unstable
        (32, True)
    """
    require_module(model)
    require_call(call)
    require_canonical(canonical)
    second = second_run(model, perturbation, call)
    run = run_model if call is None else call
    measured = isinstance(second, Second)
    with ExitStack() as stack:
        recorder = stack.enter_context(recording(model))
        again = recorder
        if measured and second.module is not model:
            again = stack.enter_context(recording(second.module))
        stack.enter_context(torch.no_grad())
        tally = Tally(recorder.kinds, levels_of(model, recorder.kinds), measured=measured)
        for batch in batches(data, called=call is not None):
            first = recorder.record(lambda each=batch: run(model, each))
            other = _again(first, second, again, batch)
            tokens = _compared(first, second, other)
            marked = marks(canonical(batch), first, other) if canonical else {}
            sizes = {place: each.codebook.shape for place, each in first.items()}
            tally.add(tokens, sizes, marked)
    layers = tally.results()
    if not any(layer.tokens for layer in layers):
        names = ", ".join(repr(name) for name in recorder.kinds)
        text = (
            f"the data must reach a quantizer, but none of {names} was called with any; "
            "give more data, or say how to call the model with call="
        )
        raise UnknownQuantizerError(text)
    missed = [name for name in recorder.kinds if name not in tally.layers]
    label = second.label if measured else second
    return StabilityReport(layers, label, (*missed, *unreported(model)))


def _again(first: Run, second: Second | float, recorder: Recorder, batch: Any) -> Run | None:
    if not isinstance(second, Second):
        return None
    return pair(first, recorder.record(lambda: second.run(batch)))


def _compared(first: Run, second: Second | float, other: Run | None) -> dict[Place, Tokens]:
    if isinstance(second, Second):
        assert other is not None
        return {place: compare(each, other[place], place.layer) for place, each in first.items()}
    return {place: moved_by(second, each, place.layer) for place, each in first.items()}
