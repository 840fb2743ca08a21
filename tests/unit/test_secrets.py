"""Secrets by name: where they are looked for, and that one which was handed out is known wherever it turns up."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmagent_os.core.errors import EngineFailed
from llmagent_os.core.records import ModelSpec
from llmagent_os.core.secrets import missing, noted, places, secret
from llmagent_os.llm.http import api_key
from llmagent_os.security.masking import Passage, scrubbed
from llmagent_os.security.recognisers import recognise
from llmagent_os.security.review import Review
from llmagent_os.security.vault import Vault

VALUE = "plain words that no pattern knows"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMAGENT_OS_SECRETS", str(tmp_path))
    return tmp_path


def test_a_secret_is_looked_for_in_the_environment_and_then_in_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secret("SHOP_KEY") == secret("../SHOP_KEY") == secret("") == ""
    (folder / "SHOP_KEY").write_text("from a file\n")
    assert secret("SHOP_KEY") == "from a file"
    monkeypatch.setenv("SHOP_KEY", "from the environment")
    assert secret("SHOP_KEY") == "from the environment"


def test_who_misses_one_says_where_to_put_it(folder: Path) -> None:
    assert str(folder / "SHOP_KEY") in missing("SHOP_KEY")
    with pytest.raises(EngineFailed, match=str(folder / "SHOP_KEY")):
        api_key(ModelSpec("shop", "openai", key_env="SHOP_KEY"))


async def test_a_secret_that_was_handed_out_is_masked_scrubbed_and_reviewed(folder: Path) -> None:
    (folder / "WORDS").write_text(VALUE)
    assert secret("WORDS") == VALUE and places(f"it is {VALUE}") == [(6, 6 + len(VALUE))]
    session = Passage(Vault(b"a key of thirty-two bytes in all"), "acme", recognise)
    assert VALUE not in session.mask(f"it is {VALUE}.")
    assert scrubbed(f"it is {VALUE}.") == "it is <KEY>."
    judged = await Review().judge(f"it is {VALUE}.", "text")
    assert (judged.action, judged.text) == ("edit", "it is <KEY>.")


def test_what_is_short_stands_anywhere_by_chance(folder: Path) -> None:
    (folder / "PIN").write_text("4711")
    assert secret("PIN") == "4711" and places("call 4711") == []


def test_a_secret_from_elsewhere_is_looked_for_too() -> None:
    assert noted("token-of-a-login") == "token-of-a-login"
    assert places("Bearer token-of-a-login.") == [(7, 23)]
    assert noted("short") == "short" and places("short") == []
