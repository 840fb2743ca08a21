"""The tools that come with the system. An agent has none of them unless its definition names them."""

from __future__ import annotations

import ast
import importlib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from ..core.errors import ToolFailed, nearest
from ..core.records import Json, Ticket
from .builtin_files import Workspaces
from .builtin_sql import Databases
from .toolkit import ToolKit
from .zones import zone_of

BITS = 4096  # of the largest whole number that is computed
DIGITS = 400  # of a rounded number
LONGEST = 500  # characters of an expression

Number = int | float


def builtin_tools(root: Path, hosts: Sequence[str] = (), private: Sequence[str] = ()) -> ToolKit:
    """Make them. Workspaces are folders below `root`; for `hosts` and `private` see `builtin_web.Web`."""
    files, kit = Workspaces(root), ToolKit()
    databases = Databases(files)
    path, folder = {"path": "path"}, {"folder": "path"}
    looks: dict[str, Any] = {"effect": "read", "idempotent": True, "contained": True}  # nothing comes of it
    kit.add(files.read_file, meanings=path, **looks)
    kit.add(files.write_file, effect="write", idempotent=True, meanings=path)
    kit.add(files.append_file, effect="write", concurrency=1, meanings=path)
    kit.add(files.edit_file, effect="write", concurrency=1, meanings=path)
    kit.add(files.list_files, meanings=folder, **looks)
    kit.add(files.search_files, meanings=folder, **looks)
    kit.add(databases.query_sql, timeout=30, concurrency=4, meanings=path | {"query": "code"}, **looks)
    sql = path | {"statements": "code"}
    kit.add(databases.change_sql, effect="write", timeout=30, concurrency=1, meanings=sql)
    kit.add(_fetcher(hosts, private), effect="external", idempotent=True, timeout=60, meanings={"url": "url"})
    kit.add(calculator, effect="read", idempotent=True, trusted=True)
    kit.add(clock, effect="read", idempotent=True, trusted=True)
    for tool in kit.values():
        tool.source = "built in"
    return kit


def _fetcher(hosts: Sequence[str], private: Sequence[str]) -> Callable[..., Any]:
    async def fetch(url: str, ticket: Ticket) -> Json:
        """Get a page of the web by its URL. HTML comes as text, with its links in brackets."""
        web = importlib.import_module(".builtin_web", __package__)  # with aiohttp, which few systems need
        return await web.Web(hosts, private).fetch(url, ticket)

    return fetch


async def clock(zone: Annotated[str, Field(examples=["Asia/Tokyo"])] = "UTC") -> dict[str, str]:
    """Say the date, the day of the week and the time, in a zone such as Europe/Berlin, or in its city. Else in UTC."""
    zone = zone_of(zone)
    now = datetime.now(UTC if zone == "UTC" else ZoneInfo(zone))
    tomorrow = f"{now + timedelta(days=1):%Y-%m-%d, %A}"
    return {"time": now.isoformat(timespec="seconds"), "weekday": f"{now:%A}", "zone": zone, "tomorrow": tomorrow}


async def calculator(expression: str) -> int | float | str:
    """Compute an arithmetic expression, such as 3 * (2 + 4) ** 2 or sqrt(2) * pi.

    It knows + - * / // % **, the constants pi, e and tau, and abs, acos, asin, atan, ceil, cos, degrees, exp,
    factorial, floor, hypot, log, log10, log2, max, min, radians, round, sin, sqrt, tan.
    """
    if len(expression) > LONGEST:
        raise ToolFailed(f"the expression has {len(expression)} characters, the most is {LONGEST}")
    try:
        result = _value(ast.parse(_as_python(expression), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, TypeError, RecursionError) as error:
        raise ToolFailed(f"{expression}: {error}; write numbers, such as 120 + 75.5") from error
    if isinstance(result, float):
        result = float(f"{result:.15g}")  # 0.1 + 0.2 is 0.3 to everybody but a computer
    fits = (isinstance(result, int) and result.bit_length() <= 53) or (
        isinstance(result, float) and math.isfinite(result)
    )
    return result if fits else str(result)  # JSON readers hold no larger number


_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_SIGNS = _FULL_WIDTH | str.maketrans(
    {"×": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "²": "**2", "³": "**3"} | dict.fromkeys("$€£¥", "")
)
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?|\.\d+)%(?:(?=\s*(?:$|[*/),]))|\s*of\b)")
_OF_WHAT = re.compile(r"\d%\s*[-+]|[-+]\s*[\d.]+%\s*(?:$|\))")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_LISTS = re.compile(r"[A-Za-z]\w*\s*\(|\[")  # where a comma stands between numbers


def _as_python(expression: str) -> str:
    """An expression as people type it, with %, ×, ^, = or 2,340, in the words of Python; raises ValueError."""
    text = expression.translate(_SIGNS).strip().removesuffix("=").strip()
    if _OF_WHAT.search(text):
        raise ValueError("a percentage is of something: 10 % more than 200 are 200 * (1 + 10 / 100)")
    if not _LISTS.search(text):
        text = _GROUPED.sub(lambda number: number[0].replace(",", ""), text)
    return _PERCENT.sub(_hundredths, text)


def _hundredths(found: re.Match[str]) -> str:
    return f"({found[1]} / 100)" + (" *" if found[0].endswith("of") else "")


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > BITS:
        raise OverflowError("the result has too many digits")
    result: Number = base**exponent
    return result


def _round(number: Number, digits: int | None = None) -> Number:
    if digits is not None and abs(digits) > DIGITS:
        raise OverflowError(f"{DIGITS} digits are the most")
    return round(number, digits)


def _factorial(number: Number) -> int:
    if number > 400:
        raise OverflowError("the result has too many digits")
    return math.factorial(int(number) if number == int(number) else -1)


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power, ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
_PLAIN = [
    "acos",
    "asin",
    "atan",
    "ceil",
    "cos",
    "degrees",
    "exp",
    "floor",
    "hypot",
    "log",
    "log10",
    "log2",
    "radians",
    "sin",
    "sqrt",
    "tan",
]
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in _PLAIN},
    "abs": abs, "factorial": _factorial, "max": max, "min": min, "round": _round,
    "sum": lambda *numbers: sum(numbers),
}  # fmt: skip


def _value(node: ast.expr) -> Number:
    """A node's value, no larger than `BITS`; raises ValueError for what is not arithmetic."""
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            result: Any = node.value
        case ast.Name(id=name):
            result = _known(name, _CONSTANTS)
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            result = _OPERATORS[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id="sum" | "max" | "min" as name), args=[ast.List(elts=args)], keywords=[]):
            result = _known(name, _FUNCTIONS)(*map(_value, args))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            result = _known(name, _FUNCTIONS)(*map(_value, args))
        case _:
            raise ValueError(f"{ast.unparse(node)} is no arithmetic")
    if isinstance(result, complex) or (isinstance(result, int) and result.bit_length() > BITS):
        raise OverflowError("the result is no real number, or has too many digits")
    return result


def _known(name: str, table: Mapping[str, Any]) -> Json:
    if name not in table:
        raise ValueError(f"{name!r} is not known; {nearest(name, table)}")
    return table[name]
