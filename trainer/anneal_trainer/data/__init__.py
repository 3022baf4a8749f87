"""What a model learns from: where rows lie, how they are read, cut, checked and tokenized."""
