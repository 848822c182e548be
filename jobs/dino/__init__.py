"""Self-supervised training of the backbone (DINO) on windows of a cube."""
