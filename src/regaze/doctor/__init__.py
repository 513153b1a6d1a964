"""The data doctor: what is wrong with photographs, labels and masks, before anything is trained on them."""
