"""Face-mask detection in one forward pass: from two folders of photos to a YOLO detector for images, video and webcam."""

__version__ = "0.1.0"
