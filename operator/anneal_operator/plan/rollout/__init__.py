"""Which published version serves, and what is to be done that it does."""
