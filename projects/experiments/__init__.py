"""Grids of trainings: run every row of a table with every seed, record what came out, and write tables and pictures."""
