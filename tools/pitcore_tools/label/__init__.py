"""People say what crops show: a page in the browser, a table for each person, and one table for training."""
