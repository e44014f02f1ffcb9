"""What endpoints and servers logged, beside what was captured: which process was behind a connection, and what no capture shows.

In: files of logs (`read.read_logs`), and the tables of the captures (`join.join`). Out: events in one form, and of these
the tables `endpoint_processes` and `endpoint_unseen`, and measures for `coverage`. Here no log is believed more than the
captures: what cannot be told apart is counted as ambiguous, and never guessed.

What an event is called and where it says what stands in `knowledge/log_events.csv`; a kind of event more is a row more.
"""
