"""The command: python -m projects.experiments GRID.yml."""

from .main import main

main()
