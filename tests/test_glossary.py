"""Words that the glossary rules out are in no help text, message, docstring or page."""

import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
GLOSSARY = HOUSE / "docs" / "glossary.md"
PAGES = [*sorted((HOUSE / "docs").glob("*.md")), HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", HOUSE / "SECURITY.md"]
SOURCES = [path for room in ("dawnchorus", "lake", "jobs") for path in sorted((HOUSE / room).rglob("*.py"))]
TEMPLATES = [path for path in sorted((HOUSE / "jobs").rglob("templates/**/*")) if path.suffix in {".html", ".js"}]


def ruled_out() -> list[str]:
    """Return the words in bold of the glossary's last column and of its last section."""
    text = GLOSSARY.read_text(encoding="utf-8")
    rows = [line.rsplit("|", 2)[1] for line in text.splitlines() if line.startswith("| ")]
    return re.findall(r"\*\*([^*]+)\*\*", " ".join(rows) + text.rpartition("## ")[2])


def test_the_glossary_rules_out_some_words() -> None:
    assert {"mend", "mic", "campaign", "whichever"} <= set(ruled_out())


@pytest.mark.parametrize("word", ruled_out())
def test_no_text_uses_a_word_that_is_ruled_out(word: str) -> None:
    wanted = re.compile(rf"\b{re.escape(word)}(s|ed|ing)?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(HOUSE)}:{number}: {line.strip()}"
        for path in [*PAGES, *SOURCES, *TEMPLATES]
        if path != GLOSSARY
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if wanted.search(line)
    ]
    assert not found, "\n".join(found)
