"""What the operator decides: an observation in, actions and a status out. Pure."""
