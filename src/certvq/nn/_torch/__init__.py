"""What torch asks of layers: its compiler, torch.func, autograd, generators, states, processes.

In: modules and tensors. Out: the same, as each mode of torch needs them. Must not know of codes,
latents or quantizers.
"""
