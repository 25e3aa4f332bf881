"""Teachers with ImageNet's features, and the small nets that learn from them."""
