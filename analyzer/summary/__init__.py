"""Tables to summaries: dependencies, and what the captures cannot show.

In: the tables of rows. Out: the tables of summaries. Only DataFrames here; never opens a file, never prints.
"""
