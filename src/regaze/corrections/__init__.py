"""Append-only store of expert corrections and selections, and their rendering to masks."""
