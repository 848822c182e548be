"""The ``cluster`` job: k-means in bounded memory over any number of windows."""
