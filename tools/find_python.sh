#!/bin/sh
# Prints the first Python that can create a virtual environment for maskyolo, or one line that says what is missing.
# PYTHON=/path/to/python selects a Python.
bare=""
for python in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python"
        exit 0
    fi
    bare=${bare:-$python}
done
if [ -n "$bare" ]; then
    version=$("$bare" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "make: $bare (Python $version) has no venv module; install it, for example: sudo apt install python$version-venv" >&2
else
    echo "make: no Python 3.11 or newer found${PYTHON:+ as $PYTHON}; install one, or name it: make PYTHON=/path/to/python3" >&2
fi
exit 1
