"""Markdown on a terminal while it comes: headings, lists, quotes, rules, code, bold, italics.

What is shown stays shown: nothing is drawn again, so it scrolls, wraps and is copied as any text. What may become
markup is held back until it is or is not; what is none is shown as it is written, and nothing is lost. (Libraries for
this want the whole text, or draw the last part of it again with each piece.)
"""

from __future__ import annotations

import re

BOLD, DIM, ITALIC, UNDERLINED, CYAN, PLAIN = (f"\x1b[{n}m" for n in (1, 2, 3, 4, 36, 0))
LONGEST = 200
"""Characters of an emphasis or a piece of code at most: so much is held back while its end has not come."""
LINE = 5000  # signs in a row that are waited for the end of, and characters until it is known what kind a line is of

# None that moves the cursor, rings, or turns the direction of writing: somebody else wrote what an agent repeats.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+")
_BULLET = re.compile(r"(\s*)[-*+][ \t]+(?=\S)")
_QUOTE = re.compile(r" {0,3}>[ \t]?")
_BEGINNING = re.compile(r"\s*+(?:#{0,6}[ \t]*|`{1,2}|`{3,}[^`]*|~{1,2}|~{3,}.*|[-+*_][-*_ \t]*|>[ \t]?)")
"""A line that may yet become one of these."""

_SIGNS = re.compile(r"\*+|_+|`+|\\")
_OPENING = re.compile(r"`+|\*{1,3}(?!\*)(?=\S|$)|(?<!\w)_{1,2}(?!_)(?=\S|$)|\\(?=[*_`]|$)")
_ELEMENTS = tuple(
    (name, re.compile(pattern.replace("MANY", f"{{0,{LONGEST}}}")))
    for name, pattern in (
        ("code", r"(?P<sign>`+)(?!`)(?P<text>.MANY?[^`])(?P=sign)(?!`)"),
        ("both", r"\*\*\*(?=[^\s*])(?P<text>[^*]MANY[^\s*])\*\*\*(?!\*)"),
        ("bold", r"\*\*(?=[^\s*])(?P<text>.MANY?\S)\*\*(?!\*)"),
        ("italic", r"\*(?=[^\s*])(?P<text>[^*]MANY[^\s*])\*(?!\*)"),
        ("bold", r"(?<!\w)__(?=[^\s_])(?P<text>.MANY?\S)__(?!\w)"),  # not within a __name_like_this__too
        ("italic", r"(?<!\w)_(?=[^\s_])(?P<text>[^_]MANY[^\s_])_(?!\w)"),
        ("", r"\\(?P<text>[*_`])"),
    )
)
"""Each is complete only with the character after it."""


def harmless(text: str) -> str:
    """A text without characters that would do something to a terminal."""
    return _HARMFUL.sub("", text)


def _goes_on(text: str, signs: re.Match[str]) -> bool:
    """Whether there may be more of a row of signs: four open nothing, where one to three do."""
    return signs.end() == len(text) and len(signs[0]) < LINE


def _opens(text: str, signs: re.Match[str]) -> bool:
    """Whether signs may be the beginning of something that has not ended yet."""
    most = LONGEST + 1 + 2 * len(signs[0])
    return len(text) - signs.start() <= most and _OPENING.match(text, signs.start()) is not None


class Markdown:
    """Turns pieces of a text into what a terminal is sent; where they are cut changes nothing of it.

    Without `colour` code keeps its marks; bold, italic and dim are no colours.
    """

    def __init__(self, colour: bool = True) -> None:
        self._styles = {"bold": BOLD, "italic": ITALIC, "both": BOLD + ITALIC, "code": CYAN if colour else ""}
        self._line, self._shown = "", 0  # the line that is being written, and how much of it is shown
        self._begun, self._style = False, ""  # whether it is known what kind of line this is, and its style
        self._fence = ""  # what ends the block of code that this is in

    def feed(self, text: str) -> str:
        """What can be shown after a piece more."""
        shown: list[str] = []
        for part in re.findall(r"\n|[^\n]+", harmless(text)):
            if part == "\n":
                shown.append(self.end() + "\n")
            else:
                self._line += part
                shown.append(self._more(final=False))
        return "".join(shown)

    def end(self) -> str:
        """What was held back of a line: there is no more of it."""
        shown = self._more(final=True)
        shown += PLAIN if self._style else ""
        self._line, self._shown, self._begun, self._style = "", 0, False, ""
        return shown

    def _more(self, final: bool) -> str:
        begin = ""
        if not self._begun:
            if not final and self._undecided():
                return ""
            begin, self._begun = self._beginning(final), True
        if self._fence:
            shown, self._shown = self._line[self._shown :], len(self._line)
        else:
            shown, self._shown = self._marked(self._line, self._shown, self._style, final)
        return begin + shown

    def _undecided(self) -> bool:
        """Whether the line may yet turn out to be of another kind than text."""
        if self._fence:
            return not self._line.strip().strip(self._fence[0])
        return len(self._line) <= LINE and _BEGINNING.fullmatch(self._line) is not None

    def _beginning(self, final: bool) -> str:
        """How the line begins on the screen; what is left of it then is its text."""
        line = self._line
        if self._fence:
            return self._end_of_code() if final and line.strip().startswith(self._fence) else self._style_of_code()
        if final and (found := _FENCE.fullmatch(line)):
            self._fence, self._shown = found[1], len(line)
            return f"{DIM}┌ {found[2].strip()}".rstrip() + PLAIN
        if final and _RULE.fullmatch(line):
            self._shown = len(line)
            return f"{DIM}{'─' * 20}{PLAIN}"
        if found := _HEADING.match(line):
            self._style = BOLD + (UNDERLINED if len(found[1]) < 3 else "")
            self._shown = found.end()
            return self._style
        if found := _BULLET.match(line):
            self._shown = found.end()
            return f"{found[1]}• "
        if found := _QUOTE.match(line):
            self._shown = found.end()
            return f"{DIM}│{PLAIN} "
        return ""

    def _end_of_code(self) -> str:
        self._fence, self._shown = "", len(self._line)
        return f"{DIM}└{PLAIN}"

    def _style_of_code(self) -> str:
        self._style = self._styles["code"] if self._line else ""
        return self._style

    def _marked(self, text: str, at: int, around: str, final: bool) -> tuple[str, int]:
        """A text from `at` on, its marks as styles within the style `around`, as far as can be told, and how far."""
        shown: list[str] = []
        while signs := _SIGNS.search(text, at):
            shown.append(text[at : signs.start()])
            at = signs.start()
            found = next(((name, match) for name, each in _ELEMENTS if (match := each.match(text, at))), None)
            if found is not None and (final or found[1].end() < len(text)):
                shown.append(self._element(*found, around))
                at = found[1].end()
            elif not final and (_goes_on(text, signs) or _opens(text, signs)):
                return "".join(shown), at
            else:  # they are what they are
                shown.append(signs[0])
                at = signs.end()
        return "".join([*shown, text[at:]]), len(text)

    def _element(self, name: str, match: re.Match[str], around: str) -> str:
        style = self._styles.get(name, "")
        if name == "code":
            return f"{style}{match['text']}{PLAIN}{around}" if style else match[0]
        text, _ = self._marked(match["text"], 0, around + style, final=True) if name else (match["text"], 0)
        return f"{style}{text}{PLAIN}{around}" if name else text
