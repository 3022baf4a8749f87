"""What is wrong with a job, in one word and in a sentence: why something failed, and what keeps pods from running."""
