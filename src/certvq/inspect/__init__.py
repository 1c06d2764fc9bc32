"""Look into models: audit, repair and compare the codes that their vector quantizers choose.

In: a torch module. Out: `ModuleAudit`, the module with certified codes, or `StabilityReport`. Must
not import the libraries whose quantizers it knows, nor train, nor change what a module computes.
"""

from certvq.inspect._audit.audit_module import audit_module as audit_module
from certvq.inspect._audit.report import LayerAudit as LayerAudit
from certvq.inspect._audit.report import ModuleAudit as ModuleAudit
from certvq.inspect._audit.report import Unaudited as Unaudited
from certvq.inspect._patch import patch_module as patch_module
from certvq.inspect._patch import unpatch_module as unpatch_module
from certvq.inspect._stability.report import AgainstCanonical as AgainstCanonical
from certvq.inspect._stability.report import LayerStability as LayerStability
from certvq.inspect._stability.report import Spread as Spread
from certvq.inspect._stability.report import StabilityReport as StabilityReport
from certvq.inspect._stability.stability_report import stability_report as stability_report
