"""Side-by-side measurements. Not part of the test run: `make bench`.

A line compares what anneal does with how it is usually done, on this machine, in turns, with a check that both
did the same thing. `python -m tests.benchmarks --help` says what can be run.
"""
