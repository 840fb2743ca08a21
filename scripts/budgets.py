"""Keep the package small enough to read: print its lines, physical and of code, and fail over a budget."""

import sys
import tokenize
from pathlib import Path

PACKAGE = Path("src/llmagent_os")
ROOMS = {
    "kernel": 1_800, "sched": 1_700, "llm": 5_460, "tools": 4_200, "security": 4_825, "gateway": 10_930, "flow": 1_785,
    "triggers": 450, "planner": 500, "teamwork": 560,
    "knowledge": 4_440, "finetune": 3_000, "personalization": 1_400, "hub": 1_500,
}  # fmt: skip
"""Lines of code, at most; a room that needs more says why on its decision page."""
BUDGETS = {PACKAGE / room: most for room, most in ROOMS.items() if (PACKAGE / room).is_dir()} | {PACKAGE: 49_440}
_LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}


def code_lines(path: Path) -> int:
    """Lines that hold code: not blank, comment or docstring."""
    lines: set[int] = set()
    statement_begins = True
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                continue
            docstring = statement_begins and token.type == tokenize.STRING
            if token.type not in _LAYOUT and not docstring:
                lines.update(range(token.start[0], token.end[0] + 1))
            statement_begins = token.type in _LAYOUT
    return len(lines)


def main() -> None:
    """Print a row a budget; exit 1 when one is exceeded."""
    over = False
    for folder, budget in BUDGETS.items():
        files = sorted(folder.rglob("*.py"))
        physical = sum(len(file.read_text().splitlines()) for file in files)
        code = sum(map(code_lines, files))
        print(f"{folder}: {code:,} lines of code of at most {budget:,} ({physical:,} lines in all)")
        over |= code > budget
    sys.exit(over)


if __name__ == "__main__":
    main()
