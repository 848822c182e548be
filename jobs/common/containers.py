"""Words of Apptainer that hold paths and values as they are, whatever characters are in them."""


def bind_words(path: str, *, writable: bool) -> list[str]:
    """Return the words that bind a folder at its own path.

    Notes
    -----
    ``--bind`` takes a path apart at colons and commas, without a way to quote them; ``--mount`` reads a line of CSV.
    """
    if not set(path) & set(":,"):
        return ["--bind", f"{path}:{path}" if writable else f"{path}:{path}:ro"]
    fields = ["type=bind", f"source={path}", f"destination={path}", *([] if writable else ["ro"])]
    return ["--mount", ",".join(map(_csv_field, fields))]


def env_words(name: str, value: str) -> list[str]:
    """Return the words that set a variable inside; its value is a line of CSV too."""
    return ["--env", _csv_field(f"{name}={value}")]


def _csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text
