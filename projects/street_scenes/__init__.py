"""A demonstration that needs no download: generated street scenes, trained and compared in minutes."""
