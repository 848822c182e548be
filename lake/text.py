"""Names as people take them for equal: one Unicode form for comparing, and the nearest name for messages."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_MOST = 3


def normal(name: str) -> str:
    """Return a name in the form in which names are compared: composed letters (Unicode NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def same_name(first: str, second: str) -> bool:
    """Return whether two names are equal, composed (NFC) or decomposed (NFD)."""
    return normal(first) == normal(second)


def resolve(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is the same as a name; ``None`` if there is none."""
    known = list(known)
    return name if name in known else next((one for one in known if same_name(one, name)), None)


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the names nearest to one that is not known, with a blank before; empty if none is near."""
    near = nearest(name, known)
    return f" Near: {', '.join(near)}." if near else ""


def loose(name: str) -> str:
    """Return a name without what people overlook: letter case, blanks at the ends, leading zeros, Unicode form."""
    return _LEADING_ZEROS.sub("", unicodedata.normalize("NFKC", name).strip().casefold())


def nearest(name: str, known: Iterable[str], most: int = _MOST) -> list[str]:
    """Return the known names that are most like a name, the nearest first; none if nothing is like it."""
    by_loose: dict[str, list[str]] = {}
    for one in sorted(set(known)):
        by_loose.setdefault(loose(one), []).append(one)
    wanted = loose(name)
    found = list(by_loose.get(wanted, ()))
    for near in difflib.get_close_matches(wanted, by_loose, n=most, cutoff=0.5):
        found += [one for one in by_loose[near] if one not in found]
    return found[:most]


def near_or_all(name: str, known: Iterable[str], most: int = 10) -> str:
    """Return, for a message, the names nearest to one that is not known; where none is near, the first known ones."""
    known = set(known)
    if not known:
        return "there is none"
    near = nearest(name, known)
    if near:
        return f"near: {', '.join(near)}"
    shown = sorted(known)[:most]
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return f"there is {', '.join(shown)}{more}"
