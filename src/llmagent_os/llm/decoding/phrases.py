"""Words and phrases found in a text that is still growing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese), or with particles (Korean)."""

_LETTER = rf"[^\W{_UNSPACED}]"


class Phrases:
    """Finds phrases in any case and spacing: whole words, except in scripts that do not space them."""

    def __init__(self, phrases: Iterable[str]) -> None:
        spaced = [" ".join(phrase.split()) for phrase in phrases if phrase.strip()]
        self._longest = max(map(len, spaced), default=0)
        self._pattern = re.compile(_pattern(spaced) or r"(?!)", re.IGNORECASE)

    def found(self, text: str, start: int = 0, final: bool = True, after: int = 0) -> int | None:
        """Where the first phrase begins that begins at `start` or later and ends later than `after`.

        While the text is not `final`, a word at its very end may become a longer one and is not found yet.
        """
        for match in self._pattern.finditer(text, start):
            settled = final or match.end() < len(text) or not re.match(_LETTER, match[0][-1])
            if settled and match.end() > after:
                return match.start()
        return None

    def sure(self, text: str, start: int) -> int:
        """The place from `start` on before which no phrase can begin, whatever follows."""
        left, place = self._longest, len(text)
        while left and place > start:
            place -= 1
            left -= not (text[place].isspace() and text[place - 1 : place].isspace())  # a run counts once
        return place


def _pattern(phrases: Iterable[str]) -> str:
    """One pattern for all; what stands before and after a word is asked once for many: it is slow to compile."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for phrase in phrases:
        before = rf"(?<!{_LETTER})" if re.match(_LETTER, phrase[0]) else ""
        after = rf"(?!{_LETTER})" if re.match(_LETTER, phrase[-1]) else ""
        alike[before, after].append(r"\s+".join(map(re.escape, phrase.split(" "))))
    return "|".join(f"{before}(?:{'|'.join(several)}){after}" for (before, after), several in alike.items())
