"""`python -m maskyolo` runs the command."""

from maskyolo.cli import main

main()
