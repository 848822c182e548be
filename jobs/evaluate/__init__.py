"""The ``evaluate`` job: how well clusterings agree with a table of labels."""
