"""Quantizers of vectors: a codebook, and the search for the nearest code.

In: latents. Out: `Quantized`. Must not know of levels.
"""
