"""Audit and repair the vector quantizers inside models of other libraries.

In: a torch module. Out: `ModuleAudit`, or the module with certified codes. Must not import the
libraries whose quantizers it knows, nor the parts of certvq that train or hold models.
"""

from certvq.adapters._audit import audit_module as audit_module
from certvq.adapters._patch import patch_module as patch_module
from certvq.adapters._patch import unpatch_module as unpatch_module
from certvq.adapters._report import LayerAudit as LayerAudit
from certvq.adapters._report import ModuleAudit as ModuleAudit
from certvq.adapters._report import Unaudited as Unaudited
