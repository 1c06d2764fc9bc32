"""Put certified codes in the place of a model's own argmin.

In: a torch module. Out: the same module, whose quantizers return certified codes. Must not add
parameters or buffers, nor change anything but the argmin.
"""

from torch import nn

from certvq.errors import UnknownQuantizerError
from certvq.inspect._argmin.site import Site, install, site_of, uninstall
from certvq.inspect._arguments import require_module
from certvq.inspect._libraries.find import Layer, adapter_of, find_layers, known_layers
from certvq.inspect._libraries.methods import unanswerable
from certvq.inspect._own import outermost
from certvq.inspect._scalar.site import (
    ScalarSite,
    install_scalar,
    scalar_layers,
    scalar_site_of,
    uninstall_scalar,
)


def patch_module(module: nn.Module) -> list[str]:
    """Make each vector quantizer inside a model choose the certified nearest codes.

    Only the argmin (in a beam search the topk) is answered otherwise; distances, losses, moving
    averages, straight-through estimators and outputs are the model's own code. Codes that are drawn
    at random (Gumbel noise in training) and the k-means that starts a codebook are left alone. No
    parameter, buffer or hook is added, so that ``state_dict`` stays the same; copies of the module
    (``copy.deepcopy``, pickle) are patched too. A module that is already patched stays as it is.

    Args:
        module: a model that holds quantizers of vector-quantize-pytorch, diffusers, transformers
            (EnCodec, X-Codec, Higgs Audio, Mimi, DAC, Chameleon, Janus, Emu3, GLM-Image) or layers
            like those of taming-transformers, LlamaGen, descript-audio-codec, encodec and RQ-VAE;
            scalar quantizers (FSQ, LFQ) of vector-quantize-pytorch, transformers (NeuCodec,
            X-Codec2), s3tokenizer and the Cosmos tokenizers; or one of these.

    Returns:
        The names of the patched layers, as in ``named_modules``. Layers of `certvq.nn` and
        `certvq.compat` have no argmin to replace and are not among them; where there are no others,
        the list is empty.

    Raises:
        OptionError: no torch module.
        UnknownQuantizerError: no quantizer is found, or one overrides the method that holds the
            argmin, or the code of a method shows that it chooses codes in another way: nothing is
            patched then. And later, in a call of the module, where no argmin over distances passes
            by, or scores are none of distances.
        NonFiniteError: in a call of the module, for NaN or infinity; names the layer.

    Guarantee: codes are those of `certvq.assign` for the latents and code vectors that the layer
        holds when it compares them (after its own normalisation and projection, before a cast by
        autocast within the product), each read as an exact number; in a beam search those of
        `certvq.rank`.
    Ties: the lowest index.
    Cost: that of the model and of `certvq.assign`; the model's own distances are still computed,
        but not where a method returns codes alone and was seen to (EnCodec, X-Codec, Mimi); where
        each latent has code vectors of its own, one search for each latent.

    Example:
        >>> import certvq, torch
        >>> class VectorQuantizer(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding = torch.nn.Embedding(8, 4)
        ...     def forward(self, z):
        ...         return torch.cdist(z, self.embedding.weight).argmin(dim=1)
        >>> model, z = VectorQuantizer(), torch.ones(3, 4)
        >>> certvq.patch_module(torch.nn.Sequential(model))
        ['0']
        >>> codes = certvq.assign(z, model.embedding.weight).codes
        >>> torch.equal(model(z), codes)
        True
    """
    require_module(module)
    scalars = scalar_layers(module)
    layers = known_layers(module) if outermost(module) or scalars else find_layers(module)
    for layer in layers:
        _require_answerable(layer)
    for layer in layers:
        if site_of(layer.module, layer.adapter) is None:
            inner = layer.module.__dict__.get(layer.adapter.method)
            install(Site(layer.name, layer.module, layer.adapter, inner=inner))
    for name, (each, rule) in scalars.items():
        if scalar_site_of(each) is None:
            install_scalar(ScalarSite(name, each, rule))
    patched = {*scalars, *(layer.name for layer in layers)}
    return [name for name, _ in module.named_modules() if name in patched]


def _require_answerable(layer: Layer) -> None:
    found = unanswerable(layer.adapter, layer.module)
    if found is None:
        return
    method, way = found
    text = (
        f"layer {layer.name!r} ({type(layer.module).__qualname__}) must choose its codes by an "
        f"argmin after a product of latents and code vectors, but {method} does by {way}, and its "
        "codes would stay as they are; nothing was patched: write it with torch.cdist and argmin, "
        "or take certvq.assign by hand"
    )
    raise UnknownQuantizerError(text)


def unpatch_module(module: nn.Module) -> list[str]:
    """Give each quantizer of a model its own argmin back.

    Args:
        module: any torch module, patched or not.

    Returns:
        The names of the layers that were patched.

    Raises:
        OptionError: no torch module.

    Example:
        >>> import certvq, torch
        >>> certvq.unpatch_module(torch.nn.Linear(2, 2))
        []
    """
    require_module(module)
    names: list[str] = []
    for name, each in module.named_modules():
        adapter = adapter_of(each)
        site = None if adapter is None else site_of(each, adapter)
        if site is not None:
            uninstall(site)
            names.append(name)
        scalar = scalar_site_of(each)
        if scalar is not None:
            uninstall_scalar(scalar)
            names.append(name)
    return names
