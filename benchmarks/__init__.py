"""Side by side with what a user would pick instead: one command each, ratios out."""
