"""A training step: precision, batch, the step itself, and what is kept of it over the epochs."""
