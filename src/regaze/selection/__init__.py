"""Which image an expert should see next."""
