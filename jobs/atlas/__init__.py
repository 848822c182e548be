"""The ``atlas`` job: a folder of static pages that shows a clustering as pictures and counts."""
