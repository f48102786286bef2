"""Conversion: class folders and annotated sets become a YOLO data set with a ledger."""
