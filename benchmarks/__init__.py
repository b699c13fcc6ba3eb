"""Measurements of pipshpc and of its peers, side by side."""
