"""Models that make codes: one record for all of them, and how each kind is opened.

In: a folder, an entry `module:function` or a module. Out: a `Codec`. Must not read data.
"""
