"""The page of a run: one HTML file that opens offline.

In: a run directory. Out: `report.html` in it. Must not import `certvq.jobs` nor `certvq.cli`.
"""

from certvq.report._page import missing_parts as missing_parts
from certvq.report._page import write_report as write_report
