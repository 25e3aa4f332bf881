"""What a user would otherwise write, measured beside pitcore on the same frames in the same run."""
