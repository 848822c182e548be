"""Verdicts of people: what they bring into the lake, and what they are asked."""
