"""Network architectures that torchvision does not have."""
