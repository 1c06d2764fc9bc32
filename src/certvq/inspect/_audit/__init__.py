"""Audit every code that the quantizers of a model choose.

Must not be imported from outside of `certvq.inspect`.
"""
