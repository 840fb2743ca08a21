"""instructor: answers as objects, by tools and by schemas, over OpenAI's API and Anthropic's."""

from __future__ import annotations

from typing import Any

import instructor
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.interop.conftest import Server

pytestmark = pytest.mark.interop


class Place(BaseModel):
    """A structured answer."""

    city: str
    people: int


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON])
def test_an_answer_is_an_object(server: Server, mode: instructor.Mode) -> None:
    client = instructor.from_openai(OpenAI(base_url=server.base_url, api_key=server.api_key), mode=mode)
    given = '{"city": "Paris", "people": 2}'
    messages: Any = [
        {"role": "user", "content": f"call Place with {given}" if mode is instructor.Mode.TOOLS else given}
    ]
    found = client.create(model="scripted", messages=messages, response_model=Place)
    assert (found.city, found.people) == ("Paris", 2)  # of a class that is made of ours
