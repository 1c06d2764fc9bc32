"""Other libraries' interfaces on certvq's quantizers: swap one import.

In: what their users write. Out: certified codes in their layouts. Must not import anything above
`certvq.nn`, nor the libraries themselves.
"""
