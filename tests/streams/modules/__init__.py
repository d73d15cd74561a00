"""Modules whose streams note what happens to them, by what their tests are about."""
