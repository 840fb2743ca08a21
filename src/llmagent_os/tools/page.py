"""What a page in HTML shows as text.

Taken apart as the HTML standard's tokeniser does (WHATWG HTML, 13.2.5), without building a tree: what a page says has
no need of one, and a tree's cost grows with the square of its depth. Every step either goes on in the page or ends it,
so the time grows with the page's length whatever is in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from yarl import URL

_HIDDEN = frozenset({"template", "svg", "noscript"})
_RAW = frozenset({"script", "style", "iframe", "noembed", "noframes"})  # what is in them is no HTML, and not shown
_BLOCKS = frozenset(
    ("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "header", "footer",
     "table", "ul", "ol", "pre", "title")
)  # fmt: skip
_MARKUP = re.compile(r"<(?:(?P<comment>!--)|(?P<end>/)?(?P<name>[A-Za-z][^\s/>]*+)|[!?/])")
_COMMENT_END = re.compile(r"-?>|(?:[^-]|-(?!-!?>))*+--!?>")
_TAG_END = re.compile(r"""(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
_RAW_END = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_ATTRIBUTE = re.compile(r"""([^\s=/>"']++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]++)))?+""")
_TOO_LARGE = re.compile(r"&#(?:0*+[0-9]{8,}|[xX]0*+[0-9A-Fa-f]{7,});?")
ATTRIBUTES = 16_384  # characters of a tag in which its address is looked for


def text_of_page(page: str, base: str) -> str:
    """A line a block, and after the words of a link its address, as seen from `base`, in brackets."""
    lines = (" ".join(line.split()) for line in "".join(_shown(page, URL(base))).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _shown(page: str, base: URL) -> Iterator[str]:
    place, hidden, link = 0, 0, ""
    for begin, end, name, closes in _tags(page):
        if not hidden and begin > place:
            yield _unescaped(page[place:begin])
        place = end
        if name in _HIDDEN:
            hidden = max(0, hidden - 1) if closes else hidden + 1
        elif hidden:
            continue
        elif name in _BLOCKS:
            yield "\n"
        elif name == "a":
            if link and closes:
                yield f" ({_address(base, link)})"
            link = "" if closes else _href(page[begin:end])
    if not hidden:
        yield _unescaped(page[place:])


def _tags(page: str) -> Iterator[tuple[int, int, str, bool]]:
    """Where markup begins and ends, the name of its tag ("" for what is none), and whether that closes an element.

    Markup that does not end takes the rest of the page with it, as in a browser.
    """
    place = 0
    while found := _MARKUP.search(page, place):
        begin, name = found.start(), (found["name"] or "").lower()
        if found["comment"]:
            last = _COMMENT_END.match(page, found.end())
            place = last.end() if last else len(page)
        elif not name:
            place = page.find(">", found.end() - 1) + 1 or len(page)
        elif last := _TAG_END.match(page, found.end()):
            place = last.end()
            if name in _RAW and not found["end"]:
                raw = _RAW_END[name].search(page, place)
                place = raw.start() if raw is not None else len(page)
        else:
            place = len(page)
        yield begin, place, name, bool(found["end"])


def _unescaped(text: str) -> str:
    return html.unescape(_TOO_LARGE.sub("\ufffd", text)) if "&" in text else text


def _href(tag: str) -> str:
    for found in _ATTRIBUTE.finditer(tag, 2, ATTRIBUTES):
        if found[1].lower() == "href":
            return _unescaped(found[2] or found[3] or found[4] or "").strip()
    return ""


def _address(base: URL, link: str) -> str:
    try:
        return str(base.join(URL(link)))
    except ValueError:
        return link
