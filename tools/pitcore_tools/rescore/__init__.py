"""Judges an archive of crops with a candidate model, through Ray Data, and reports which verdicts would change."""
