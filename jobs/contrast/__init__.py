"""Train a small network of frames by contrast: views of one window are alike, those of others are not."""
