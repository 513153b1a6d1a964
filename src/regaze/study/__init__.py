"""The folder that holds one study, and the steps of the loop that work in it."""
