"""Catch little: print the share of handlers that catch everything, with their places, and fail over a fifth."""

import ast
import sys
from pathlib import Path

LIMIT = 0.20
_ALL = {"Exception", "BaseException"}


def catches_all(handler: ast.ExceptHandler) -> bool:
    """True for a bare `except`, or one that names Exception or BaseException."""
    if handler.type is None:
        return True
    return any(isinstance(node, ast.Name) and node.id in _ALL for node in ast.walk(handler.type))


def main() -> None:
    """Print the count; exit 1 over the limit."""
    handlers = [
        (path, node)
        for path in sorted(Path("src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
    ]
    wide = [f"{path}:{node.lineno}" for path, node in handlers if catches_all(node)]
    share = len(wide) / max(1, len(handlers))
    print(f"catch-all handlers: {len(wide)} of {len(handlers)} ({share:.0%}, at most {LIMIT:.0%})", *wide, sep="\n  ")
    sys.exit(share > LIMIT)


if __name__ == "__main__":
    main()
