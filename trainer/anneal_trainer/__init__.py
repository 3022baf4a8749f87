"""What happens to a model: data, training, evaluation, compression, publication. Inside Ray or alone."""
