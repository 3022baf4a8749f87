"""How good a model is, which variant is chosen, and whether it clears the bar."""
