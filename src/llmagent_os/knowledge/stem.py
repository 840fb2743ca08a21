"""English words without their endings, by Porter's algorithm of 1980: what it makes is no word, but alike for like."""

from __future__ import annotations

import re

_SECOND = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "abli": "able", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_THIRD = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_FOURTH = dict.fromkeys(
    ("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
     "ous", "ive", "ize"), ""
)  # fmt: skip
_VOWEL = re.compile(r"[aeiou]|(?<=[^aeiou])y")
_SHORT = re.compile(r"(?:^|.*[^aeiou])[^aeiou](?:[aeiou]|(?<=[^aeiou])y)[^aeiouwxy]$")


def _ending(steps: dict[str, str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(sorted(steps, key=len, reverse=True)) + ")$")


_ENDINGS = [(_ending(steps), steps, least) for steps, least in ((_SECOND, 0), (_THIRD, 0), (_FOURTH, 1))]


def _measure(stem: str) -> int:
    """How often a consonant follows a vowel."""
    form = "".join("v" if each in "aeiou" or (each == "y" and n and stem[n - 1] not in "aeiou") else "c"
                   for n, each in enumerate(stem))  # fmt: skip
    return form.count("vc")


def stem(word: str) -> str:
    """The stem of a word in small ASCII letters."""
    if len(word) < 3:
        return word
    word = _inflected(word)
    if word.endswith("y") and _VOWEL.search(word[:-1]):
        word = word[:-1] + "i"
    for ending, steps, least in _ENDINGS:
        found = ending.search(word)
        if found is None:
            continue
        rest = word[: found.start()]
        if _measure(rest) > least and (found[1] != "ion" or rest[-1:] in ("s", "t")):
            word = rest + steps[found[1]]
    if word.endswith("e"):
        measured = _measure(word[:-1])
        if measured > 1 or (measured == 1 and not _SHORT.match(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _inflected(word: str) -> str:
    """Without the endings of plurals and of verbs."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    rest = word[:-2] if word.endswith("ed") else word[:-3] if word.endswith("ing") else ""
    if not rest or not _VOWEL.search(rest):
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if rest[-1:] == rest[-2:-1] and rest[-1] not in "aeioulsz":
        return rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _SHORT.match(rest) else rest
