"""Files that are written whole, locked, limited in size, and cleaned up.

In: paths and bytes. Out: the same. Must not know of models, tokens or codebooks.
"""
