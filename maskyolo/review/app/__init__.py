"""A data set under review in FiftyOne: its fields, saved views, and edits."""
