"""Projects on top of the package; they are not installed with it. Run them from the root of a checkout."""
