"""Conversion of class folders and annotated sets to a YOLO data set with a ledger."""
