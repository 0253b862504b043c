"""What `smartdrive-edge doctor` looks at: one module for each side of the collector, a finding for each fact.

Nothing here changes the car, the spool, or the collector that runs. What a running collector holds, the adapter
and its session with the broker, is taken from its status file.
"""

from smartdrive_edge.doctor.examination import examine
from smartdrive_edge.doctor.findings import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
