"""Name the command that installs an extra: from this source tree, or from the index."""

import json
import shlex
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit


def how_to_install(extra: str) -> str:
    """Return what to type for an extra of dawnchorus, such as ``pip install '/src/dawnchorus[full]'``."""
    source = source_tree() or "dawnchorus"
    return f"pip install {shlex.quote(f'{source}[{extra}]')}"


def source_tree() -> Path | None:
    """Return the source tree that this runs in, or was installed from; ``None`` if it came from an index."""
    beside = Path(__file__).resolve().parents[2]
    if (beside / "pyproject.toml").is_file():
        return beside
    try:
        record = metadata.distribution("dawnchorus").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(record)["url"]) if record else None
    tree = Path(unquote(url.path)) if url and url.scheme == "file" else None
    return tree if tree and (tree / "pyproject.toml").is_file() else None
