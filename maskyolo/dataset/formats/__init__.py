"""Annotated data sets of other tools (Pascal VOC, COCO, YOLO), read into one form and written."""
