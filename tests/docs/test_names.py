"""What docs and docstrings refer to by a dotted name or a path of ours is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ROOT / "src" / "llmagent_os"
ROOMS = "|".join(sorted(each.stem for each in OURS.iterdir() if each.is_dir() or each.suffix == ".py"))
NAME = re.compile(rf"`(?:llmagent_os\.)?((?:{ROOMS})(?:\.\w+)+)`")
FILE = re.compile(rf"`((?:{ROOMS}|tests|bench|docs|scripts|examples)/[\w/.-]+\.\w+)(?:::(\w+))?`")
# files, and keys of one
ELSEWHERE = re.compile(r"config\.yaml|modules\.txt|tools\.(hosts|private|mcp|openapi|sandbox|registry)\b")


def pages() -> list[Path]:
    """Docs and sources."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(OURS.rglob("*.py"))]


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something that is named in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = OURS.joinpath(*parts[:end])
        if (found := place.with_suffix(".py")).is_file() or (found := place / "__init__.py").is_file():
            text = "".join(file.read_text() for file in place.glob("*.py")) if place.is_dir() else found.read_text()
            return all(re.search(rf"\b{part}\b", text) for part in parts[end:])
    return False


def test_names_and_paths_lead_somewhere() -> None:
    bad, seen = [], 0
    for page in pages():
        text = page.read_text()
        for name in NAME.findall(text):
            seen += 1
            if not ELSEWHERE.match(name) and not is_there(name):
                bad.append(f"{page.relative_to(ROOT)}: {name}")
        for path, test in FILE.findall(text):
            seen += 1
            file = next((each for each in (ROOT / path, OURS / path) if each.is_file()), None)
            if file is None or (test and f"def {test}" not in file.read_text()):
                bad.append(f"{page.relative_to(ROOT)}: {path} {test}")
    assert seen > 200
    assert bad == []


def test_nobody_is_told_to_install_us_from_an_index() -> None:
    """There is none that has us: an extra is told by what it needs, see `core.extras.command`."""
    told = re.compile(r"pip install [^`\n]*llmagent[-_]os")
    found = [str(page.relative_to(ROOT)) for page in [*pages(), ROOT / "README.zh.md"] if told.search(page.read_text())]
    assert found == []
