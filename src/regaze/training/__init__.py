"""The one training loop, its losses and targets, and the two recipes that call it."""
