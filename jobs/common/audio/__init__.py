"""Sound files: headers, decoders, samples."""
