"""Lets people label crops: a page in the browser, a table for each person, and one table for training."""
