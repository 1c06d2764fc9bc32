"""The page of a run, and of a codebook: one HTML file that opens offline.

In: a run directory, or what k-means found. Out: `report.html` in it, or a page. Must not import
`certvq.jobs` nor `certvq.cli`.
"""

from certvq.report._kmeans import write_kmeans_page as write_kmeans_page
from certvq.report._page import missing_parts as missing_parts
from certvq.report._page import write_report as write_report
