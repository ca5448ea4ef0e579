"""A small local page on which a trained model is tried beside what it was made from."""
