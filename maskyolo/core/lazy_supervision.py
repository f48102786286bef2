"""The package supervision as `sv`, imported in half the time.

supervision imports SciPy for smoothed traces and polygons, which are rarely drawn, requests for
images at web addresses, and tqdm for progress bars. The first import in a process must come from
here; any later `import supervision` then gets the same module.
"""

from maskyolo.core.lazy_imports import late

with late("scipy.interpolate", "scipy.spatial", "requests", "tqdm.auto"):
    import supervision as sv

__all__ = ["sv"]
