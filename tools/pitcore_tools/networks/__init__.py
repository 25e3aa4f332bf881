"""Defines the networks for training, with torchvision's names, for any number of planes."""
