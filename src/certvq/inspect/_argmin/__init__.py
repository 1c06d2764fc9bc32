"""Watch the torch functions that a quantizer of another library calls; answer its argmin.

Must not be imported from outside of `certvq.inspect`.
"""
