"""Training of the detector and of the two-stage pipeline's classifier."""
