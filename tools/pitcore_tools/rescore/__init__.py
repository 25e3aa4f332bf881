"""Judges an archive of crops with a candidate model, through Ray Data, and says what would change."""
