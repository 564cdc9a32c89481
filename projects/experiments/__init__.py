"""Grids of training runs over rows and seeds, their records, tables and pictures."""
