"""Stateless tensor work."""
