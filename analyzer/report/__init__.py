"""Results for people. In: an analysis. Out: text. Renders, decides nothing; all that comes from a capture is escaped."""
