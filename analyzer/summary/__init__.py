"""Tables to summaries: dependencies, and what the captures cannot show.

In: the tables of rows. Out: the tables of summaries. Only columns of numbers here, never a DataFrame; never opens a
file, never prints.
"""
