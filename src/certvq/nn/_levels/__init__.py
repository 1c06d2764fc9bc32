"""Quantizers made of quantizers: residual levels, products, scales, changed coordinates.

In: latents. Out: `Quantized`, with several codes for each latent.
"""
