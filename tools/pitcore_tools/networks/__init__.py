"""The networks we train, under torchvision's names, for any number of planes."""
