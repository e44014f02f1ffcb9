"""Evidence for rows of `dependencies`: the connections behind them as a small capture, and filters that find them.

In: an analysis, also one that was read back, and a choice among its rows; captures are read again. Out: a pcapng file with all
packets of these connections as they were captured, and comments that name the rows on their frames; display filters for
Wireshark. Never judges anything.
"""

from analyzer.slices.cutting import Slice, cut
from analyzer.slices.filters import Filters, display_filters
from analyzer.slices.selection import Selection, chosen_rows

__all__ = ["Filters", "Selection", "Slice", "chosen_rows", "cut", "display_filters"]
