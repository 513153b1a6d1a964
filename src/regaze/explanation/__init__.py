"""Explainers: which pixels of a photograph mattered to the network's grade."""
