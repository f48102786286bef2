"""File suffixes by which files in a folder are taken as images, videos or lists."""

from __future__ import annotations

from maskyolo.core.images import IMAGE_SUFFIXES

__all__ = [
    "ANIMATION_SUFFIXES",
    "LIST_SUFFIXES",
    "MEDIA_SUFFIXES",
    "RAW_SUFFIXES",
    "VIDEO_SUFFIXES",
]

_VIDEOS = """
    .mp4 .avi .mov .mkv .webm .m4v .mpg .mpeg .wmv .flv .ts .mts .m2ts .3gp .3g2 .ogv .asf .mjpeg
    .mjpg .h264 .264 .avc .h265 .265 .hevc .ivf .obu .av1 .vob .mxf .dv .dav .f4v .m2v .mpv .divx
    .qt .rm .rmvb .wtv .y4m .nut
"""
_PHOTOS = ".apng .heics .jxl .j2k .jpf .jpx .psd .tga .pnm .pbm .pcx .qoi"
_RAW = """
    .3fr .arw .cr2 .cr3 .dng .erf .iiq .kdc .mos .mrw .nef .nrw .orf .pef .raf .rw2 .srw .x3f
"""

#: Videos; the content determines the format.
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
#: Raw photos, of which Pillow would only see a thumbnail.
RAW_SUFFIXES = frozenset(_RAW.split())
#: Everything that is named like an image or video: it is read, or reported if it cannot be.
MEDIA_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES | RAW_SUFFIXES | frozenset(_PHOTOS.split())
#: Formats that can be animations.
ANIMATION_SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp", ".avif"})
#: Lists of sources, one per line; `.streams` is what Ultralytics calls them.
LIST_SUFFIXES = frozenset({".txt", ".streams"})
