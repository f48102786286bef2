"""supervision as `sv`, imported in half the time.

It imports SciPy for smoothed traces and for polygons, which are rarely drawn. Import it from here
where it is imported first; afterwards `import supervision` is the same.
"""

from maskyolo.core.lazy_imports import late

with late("scipy.interpolate", "scipy.spatial"):
    import supervision as sv

__all__ = ["sv"]
