"""Figures of merit: how good a prediction is, measured as the literature measures it."""
