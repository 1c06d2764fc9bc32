"""How a codebook starts, learns and revives the codes that nobody chooses.

In: tokens with their codes. Out: code vectors. Must not know of estimators or layers.
"""
