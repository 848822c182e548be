"""The lake: Zarr stores of spectrograms, embeddings and clusters, how they are written and read."""
