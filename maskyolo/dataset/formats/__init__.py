"""Reads and writes annotated data sets of other tools (Pascal VOC, COCO, YOLO)."""
