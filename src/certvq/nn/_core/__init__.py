"""What every quantizer is made of: the interface, layouts, masks, checks of codes and batches.

In: tensors of latents and codes. Out: the same as rows of tokens, or a named error. Must not know
of any way to quantize.
"""
