"""Networks and their files: weights by name and checksum, trust in pickles, inference backends."""
