"""The browser page: its files, the model for it, and a server on the loopback address."""
