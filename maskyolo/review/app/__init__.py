"""A data set under review in FiftyOne: its fields, its saved views, and the edits made there."""
