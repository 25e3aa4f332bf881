"""How often the line is right, from the random sample and what people said of it."""
