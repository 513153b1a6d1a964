"""The steps of the loop: each takes a study, does one thing to it, and can be called again."""
