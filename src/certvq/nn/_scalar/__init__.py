"""Quantizers of scalars, feature by feature: grids, bits, learned values.

In: latents. Out: `Quantized`. Must not know of codebooks of vectors or of levels.
"""
