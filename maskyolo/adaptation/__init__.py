"""A camera's own recordings as training data, labeled without a person."""
