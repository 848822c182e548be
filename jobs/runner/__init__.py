"""Read manifests, execute their runs, say how they stand, and repeat them."""
