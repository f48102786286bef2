"""`python -m maskyolo` is the command."""

from maskyolo.cli import main

main()
