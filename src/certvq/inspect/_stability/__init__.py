"""Compare two runs of a model: which tokens could get another code.

Must not be imported from outside of `certvq.inspect`.
"""
