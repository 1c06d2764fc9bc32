"""The quantizers, one a file, each a final class with the interface of `Quantizer`.

In: latents. Out: `Quantized`. Must not know of models or data.
"""
