"""Networks: weights, cards, devices, and the preparation of their input. Torch is imported here."""
