"""Exports: labelled sound in the forms that other programs and archives read, one form a module."""
