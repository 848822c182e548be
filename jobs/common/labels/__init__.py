"""Labels of people and programs: formats, intervals, and the recordings that they mean."""
