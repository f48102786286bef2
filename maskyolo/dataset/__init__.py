"""A data set on disk: images, labels, `data.yaml`, ledger, splits."""
