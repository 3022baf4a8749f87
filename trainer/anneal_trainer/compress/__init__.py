"""Makes smaller and faster variants of a trained model, and measures them."""
