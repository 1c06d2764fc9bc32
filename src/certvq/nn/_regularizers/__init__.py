"""Terms of the loss that shape a codebook.

In: latents, code vectors and codes of a training batch. Out: scalars. Must not know of layers.
"""
