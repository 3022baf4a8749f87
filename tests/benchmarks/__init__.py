"""Side-by-side measurements. Not part of the test run: `make bench`."""
