"""Messages on what is wrong in a file that people write: the key, what was expected, what was found, what was meant."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import date
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from jobs.common.config import JobConfig
from jobs.common.plain_words import plain

WANTED = {
    "model_type": "expected a table",
    "dict_type": "expected a table",
    "date_type": "expected a day without quotes, such as 2021-07-14",
}
"""Messages of pydantic in words of Python."""


def explain(error: ValidationError, model: type[BaseModel], prefix: Sequence[str]) -> list[str]:
    """Return one line for each place that pydantic found wrong: the key, what was expected, what was found."""
    lines: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for problem in error.errors():
        # For a value of several possible kinds, pydantic reports one problem for each kind.
        kinds = issubclass(model, JobConfig)
        place = [part for i, part in enumerate(problem["loc"]) if i == 0 or isinstance(part, int) or not kinds]
        where = ".".join(map(str, [*prefix, *place]))
        if problem["type"] == "extra_forbidden":
            said = f"unknown key{nearest(str(place[-1]), _keys(model, place[:-1]))}"
        elif problem["type"] in {"missing", "value_error"}:
            said = problem["msg"].removeprefix("Value error, ").replace("Field required", "missing")
        else:
            known = WANTED.get(problem["type"]) or plain(problem["msg"])
            said = known or problem["msg"].replace("Input should be", "expected", 1)
            found[where] = f", found {_shown(problem['input'])}"
        said = said.removeprefix("expected ") if where in lines else said
        lines.setdefault(where, []).append(said)
    return [f"{where}: {' or '.join(said)}{found.get(where, '')}" for where, said in lines.items()]


def _keys(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Return the keys that are right in the table at a place of a model."""
    found: object = model
    for part in place:
        table = _table_of(found)
        found = table.model_fields[str(part)].annotation if table and part in table.model_fields else _item_of(found)
    return list((_table_of(found) or model).model_fields)


def _table_of(annotation: object) -> type[BaseModel] | None:
    """Return the model of a type, which may be optional."""
    options = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _item_of(annotation: object) -> object:
    """Return the type of what a table with keys of the user's own holds."""
    return get_args(annotation)[-1] if get_origin(annotation) is dict else None


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, date) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def nearest(word: str, words: Mapping[str, Any] | Sequence[str]) -> str:
    """Return the end of a message: the word that was perhaps meant, or all there are."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(words))}" if words else ""
