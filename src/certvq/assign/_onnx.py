"""The search as an operator of ONNX graphs: what those who write it and those who run it agree on.

In: nothing. Out: names. Must not import onnx, nor torch.
"""

ASSIGN = "CertVQAssign"
"""Name of the operator in the graph."""

DOMAIN = "ai.onnx.contrib"
"""Its domain, that of operators written in Python."""

NO_CODE = -(2**63)
"""What the operator returns in place of codes that it refuses to give; no table has such a row."""
