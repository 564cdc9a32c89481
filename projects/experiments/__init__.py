"""Grids of trainings: every row of a table with every seed, from the trainings to the table and its pictures."""
