"""supervision as `sv`, imported in half the time: it imports SciPy for smoothed traces and for polygons, which few ever draw.

Import it from here where it is imported first; afterwards `import supervision` is the same.
"""

from maskyolo._late import late

with late("scipy.interpolate", "scipy.spatial"):
    import supervision as sv

__all__ = ["sv"]
