"""Which tokens of a model could get another code from the numerical noise of its encoder.

In: a torch module and data. Out: `StabilityReport`. Must not train, nor change the module.
"""

from certvq.stability._report import LayerStability as LayerStability
from certvq.stability._report import Spread as Spread
from certvq.stability._report import StabilityReport as StabilityReport
from certvq.stability._stability_report import stability_report as stability_report
