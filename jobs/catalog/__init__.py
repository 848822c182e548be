"""Catalog: folders of audio in; what is there, when it was recorded and what is wrong with it out."""
