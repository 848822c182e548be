"""Score and probability of each sound in each window, from vectors and heads."""
