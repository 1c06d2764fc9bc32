"""What certvq knows of the quantizers of other libraries, and where they are in a model.

Must not be imported from outside of `certvq.inspect`.
"""
