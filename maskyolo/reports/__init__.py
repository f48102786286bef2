"""Reports of what cameras saw over time, from the event files of `maskyolo detect --events`."""
