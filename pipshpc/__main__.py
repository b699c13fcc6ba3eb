"""`python -m pipshpc` is the command `pipshpc`."""

from pipshpc.cli import main

main()
