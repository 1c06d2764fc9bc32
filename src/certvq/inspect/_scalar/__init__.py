"""Scalar quantizers of other libraries: which value of each feature, and the index they make."""
