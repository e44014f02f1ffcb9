"""What was found, in the files that people's other tools read already.

In: an analysis. Out: logs as Zeek writes them, events as Suricata does, and a list of what to watch after a change, with queries
for the event logs of Windows. Never judges anything, and never writes a name from a capture where it could be taken for
something else.
"""

from analyzer.exports.eve import write_eve
from analyzer.exports.watch import write_watch
from analyzer.exports.zeek import write_zeek

__all__ = ["FORMATS", "write_eve", "write_watch", "write_zeek"]

FORMATS = {"zeek": write_zeek, "eve": write_eve, "watch": write_watch}
"""By name: each takes an analysis and a folder, and returns the names of the files that it wrote."""
