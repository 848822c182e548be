"""The ``dictionary`` job: the patches that a study's windows are made of, learnt without labels or a network."""
