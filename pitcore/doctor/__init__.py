"""`pitcore doctor`: looks a board over, and says for whatever is not good how to fix it."""
