"""What needs no study: grade photographs with a model folder, and explain them."""
