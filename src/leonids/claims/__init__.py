"""What was predicted, and what the data say of it."""
