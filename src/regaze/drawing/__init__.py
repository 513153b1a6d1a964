"""Charts, overlays and panels, drawn by hand: no plotting library, no script, no font file."""
