"""The search for a data set's likely errors."""
