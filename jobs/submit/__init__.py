"""A manifest's runs as jobs of a batch scheduler, each in its container image."""
