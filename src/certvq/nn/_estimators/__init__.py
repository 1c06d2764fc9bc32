"""What gradient the latents get, as the choice of a code has none.

In: latents, code vectors and codes. Out: vectors with a gradient. Must not know how a codebook
learns.
"""
