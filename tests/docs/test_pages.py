"""The README and the pages in docs/ do what they say: their examples are run, and print what stands below them."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from .pages import Place, examples

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh.md"]
PAGES = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [page.relative_to(ROOT).as_posix() for page in PAGES if examples(page.read_text())]
TORCH = "docs/howto/llmagents.md"
REAL = [name for name in RUN if "tiny" in (ROOT / name).read_text() and name != TORCH]
"""The pages whose examples ask a real model."""


@pytest.mark.torch
def test_the_examples_with_transformers_print_what_they_show(tmp_path: Path) -> None:
    from tests.stand_ins.tiny_torch import save_pair  # noqa: PLC0415 - needs torch

    save_pair(tmp_path / "my-model")
    run(TORCH, tmp_path)


@pytest.mark.parametrize("name", [name for name in RUN if name not in (TORCH, *REAL)])
def test_the_examples_of_a_page_print_what_it_shows(name: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    run(name, tmp_path)


@pytest.mark.model
@pytest.mark.parametrize("name", REAL)
def test_the_examples_with_a_real_model_print_what_they_show(name: str, tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / tiny_model.name).symlink_to(tiny_model)
    run(name, tmp_path)


def run(name: str, home: Path) -> None:
    """Run a page's examples, one after another in one place."""
    with ExitStack() as stack:
        place = Place(home, stack)
        for example in examples((ROOT / name).read_text()):
            place.run(example)


def test_the_readmes_say_the_same() -> None:
    """A translation has the same examples, links, rooms, promises and names in code, in the same order."""
    english, chinese = (readme.read_text().partition("\n\n")[2] for readme in READMES)
    english, chinese = (text.partition("\n\n")[2] for text in (english, chinese))  # without the line of languages
    for kept in (r"```.*?```", r"\]\(\S+?\)", r"^\| `\w+`", r"^#+ ", r"^- \*\*"):
        told = [re.findall(kept, text, re.DOTALL | re.MULTILINE) for text in (english, chinese)]
        assert told[0] == told[1], kept
    said = [
        set(re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))) for text in (english, chinese)
    ]
    assert said[0] <= said[1]


def test_blocks_are_found_with_their_output() -> None:
    page = "a\n```python\nprint(1)\n```\nprints\n```text\n1\n```\n"
    page += "<!-- test -->\n```console\n$ echo a \\\n  b\na b\n$ true\n```\n"
    found = [(e.line, e.command[-1], e.output) for e in examples(page)]
    assert found == [(2, "print(1)\n", "1\n"), (10, "echo a \\\n  b", "a b\n"), (10, "true", "")]


def test_files_are_saved_and_what_is_not_marked_is_left_alone() -> None:
    page = "```console\n$ make run\n```\n<!-- not run: no network -->\n```python\nx\n```\n"
    page += "<!-- file: a.yaml -->\n```yaml\nname: a\n```\n"
    assert [(e.file, e.command) for e in examples(page)] == [("a.yaml", ("name: a\n",))]
