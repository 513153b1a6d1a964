"""The page a person reads at the end."""
