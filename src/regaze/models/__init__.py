"""The network that grades an image and shows where it looked."""
