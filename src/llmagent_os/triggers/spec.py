"""What a trigger is: what starts it, what it starts, and by which rules; and the times at which it is due."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import takewhile
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..core import codec, documents, templates, worded
from ..core.errors import InvalidRequest, nearest
from ..core.records import Json

NAMES = ("due", "event", "missed", "name", "number")
"""What the template of a trigger may name."""
FILES_OF = "files of a folder"
"""Whose words the names of files are."""
LONGEST_ZONE = 100  # characters of the name of a time zone
MOST = 1000  # due times that are told at once; of more the newest
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


class Webhook(BaseModel):
    """Who may call: whoever signs with the secret of that name, in the form of Standard Webhooks or of GitHub.

    The name begins with `WEBHOOK_`, so that no other secret of the system can be guessed at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    secret: str = Field(pattern=r"^WEBHOOK_[A-Z0-9_]{1,64}$")
    form: Literal["standard", "github"] = "standard"


class TriggerSpec(BaseModel):
    """A trigger's definition: one of `cron`, `every`, `folder`, `message`, `webhook`, and the `agent` that it starts.

    An agent or a flow is given the `input`: a template in which `${due}` is the time in question, `${event}` what came
    (of a file `name`, `path`, `size`, `modified` and `change`), `${missed}` how many due times were missed, `${number}`
    how many starts there were before, and `${name}` the trigger's own. `cron` has five fields and is read in `zone`;
    `every` is in seconds, or `15m`, `2h`, `1d`. `folder` is below the agent's workspace, or, from whoever runs the
    system, an absolute path; of its files those that `match`. Times that nobody was there for are `missed`: none of
    them is made up for, one is for all, or all are, of more than `most` the last; a time is kept if it is not over for
    `late` seconds. While what was started runs, the next is left out (`skip`, without a word the rule for times),
    waits (`queue`, the rule for all else, at most 1,000), is started too (`allow`, at most `at_once`), or takes its
    place (`replace`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    name: str = Field(pattern=worded.AGENT, max_length=64)
    description: str = ""
    agent: str = Field(pattern=worded.AGENT, max_length=64)
    input: Any = None
    cron: str | None = None
    zone: str = "UTC"
    every: float | None = Field(None, ge=1, le=366 * 86400)
    folder: str | None = Field(None, min_length=1, max_length=1000)
    match: str = "*"
    message: bool = False
    webhook: Webhook | None = None
    missed: Literal["skip", "once", "all"] = "once"
    most: int = Field(10, ge=1, le=MOST)
    late: float = Field(60.0, ge=0)
    overlap: Literal["skip", "queue", "allow", "replace"] | None = None
    at_once: int = Field(10, ge=1, le=100)

    @field_validator("every", "most", "late", "at_once", mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        if isinstance(given, bool):  # `yes` in YAML
            raise ValueError(f"{str(given).lower()} is no number")
        return given

    @field_validator("every", mode="before")
    @classmethod
    def _span(cls, given: Any) -> Any:
        found = _SPAN.fullmatch(given) if isinstance(given, str) else None
        return float(found[1]) * _UNITS[found[2]] if found else given

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            if len(name) > LONGEST_ZONE:  # it is also looked for as a package, part by part
                raise ValueError
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
            told = f"there is no time zone {name[:LONGEST_ZONE]!r} on this machine; zones are like Europe/Berlin"
            raise ValueError(told) from None
        return name

    @field_validator("cron")
    @classmethod
    def _cron(cls, text: str | None) -> str | None:
        if text is None:
            return None
        if len(text.split()) != 5:
            raise ValueError(f"{text!r} has not five fields: minute, hour, day, month, weekday; for seconds: every")
        try:
            first = next(CronSim(text, datetime(2000, 1, 1)), None)
        except CronSimError as error:
            raise ValueError(f"{text!r} is no time: {str(error).replace('Bad', 'look at its')}") from None
        if first is None:
            raise ValueError(f"{text!r} is never due within 50 years")
        return text

    @model_validator(mode="after")
    def _one(self) -> TriggerSpec:
        kinds = [self.cron is not None, self.every is not None, self.folder is not None, self.message,
                 self.webhook is not None]  # fmt: skip
        if sum(kinds) != 1:
            raise ValueError("say one of cron, every, folder, message: true and webhook")
        for each in templates.named(self.input):
            if each not in NAMES:
                raise ValueError(f"its input names {each!r}; {nearest(each, NAMES)}")
        return self

    @property
    def timed(self) -> bool:
        """Whether it is started by time."""
        return self.cron is not None or self.every is not None

    @property
    def rule(self) -> str:
        """What becomes of a start while another one runs."""
        return self.overlap or ("skip" if self.timed else "queue")

    def lean(self) -> dict[str, Json]:
        """The JSON form, from which `parse` makes an equal one, without what is as it is by default."""
        return self.model_dump(exclude_defaults=True)

    def after(self, begun: float, last: float) -> float | None:
        """The first time after `last` at which it is due; None: by time it is not. Seconds since the epoch."""
        if self.every is not None:
            times = (begun + ((last - begun) // self.every + n) * self.every for n in (1, 2))
            return next(at for at in times if at > last)  # rounding may find the last one again
        return None if self.cron is None else next(self._from(self.cron, last), None)

    def due(self, begun: float, last: float, now: float) -> list[float]:
        """The times after `last` and until `now` at which it was due, in order; of more than 1,000 the newest.

        What a clock that is set forward leaves out is due at the end of the gap, where it names an hour; of an hour
        that comes twice the first is meant. What is due every hour, or oftener, goes by the time that passes.
        """
        if self.every is not None:
            newest, oldest = int((now - begun) // self.every), int((last - begun) // self.every)
            spaced = (begun + n * self.every for n in range(max(oldest, newest - MOST), newest + 2))
            return [at for at in spaced if last < at <= now][-MOST:]
        span = MOST * 60.0  # nothing is due oftener than every minute
        while self.cron is not None:
            start = max(last, now - span)
            found = list(takewhile(lambda at: at <= now, self._from(self.cron, start)))
            if start == last or len(found) >= MOST:
                return found[-MOST:]
            span *= 2
        return []

    def _from(self, cron: str, start: float) -> Iterator[float]:
        """The times after one; of a day on which clocks are set it may find the last one again."""
        times = CronSim(cron, datetime.fromtimestamp(start, ZoneInfo(self.zone)))
        return (at for each in times if (at := each.timestamp()) > start)

    def told(self, at: float) -> str:
        """A time as this trigger tells it: in its zone."""
        return datetime.fromtimestamp(at, ZoneInfo(self.zone)).isoformat(timespec="seconds")


def parse(data: Any) -> TriggerSpec:
    """Check a definition; raises InvalidRequest that names the field to blame."""
    if not isinstance(data, Mapping):
        raise InvalidRequest(f"a trigger's definition is a mapping with name and agent, not {type(data).__name__}")
    try:
        return TriggerSpec.model_validate(dict(documents.plain(data, "the definition")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        hint = nearest(field, TriggerSpec.model_fields)
        raise InvalidRequest(f"trigger definition: unknown field {field!r}; {hint}", parameter=field)
    text = f"{field}: {worded.wrong(first)}" if field else worded.wrong(first)
    raise InvalidRequest(f"trigger definition: {text}", parameter=field or None)


@lru_cache(maxsize=1000)
def _stored(packed: bytes) -> TriggerSpec:
    return parse(codec.loads(packed))


def stored(data: Json) -> TriggerSpec:
    """A definition as it was kept, parsed once."""
    return _stored(codec.dumps(data))
