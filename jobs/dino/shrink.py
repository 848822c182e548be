"""The size that large windows are made smaller to before views are cut out of them."""


def shrunk_size(now: tuple[int, int], view: tuple[int, int]) -> tuple[int, int]:
    """Return the size that windows are shrunk to: by whole factors, and never below twice a view's."""
    rows, columns = (max(1, n // (2 * wanted)) for n, wanted in zip(now, view, strict=True))
    return now[0] // rows, now[1] // columns
