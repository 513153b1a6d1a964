"""What a study's models are worth: records per photograph, their summary, the rounds, the experts."""
