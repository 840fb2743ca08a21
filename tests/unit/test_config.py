"""What a person writes into the configuration is read, or they are told where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmagent_os.config import KEPT, load
from llmagent_os.core.errors import InvalidRequest


@pytest.mark.parametrize("text", ["port: [", "model: 2001-99-99", "- port", "prot: 1", "anomalies: {most: {cals: 3}}"])
def test_a_bad_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InvalidRequest, match=r"config"):
        load({"data": tmp_path})


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("modle: tiny", "modle: did you mean 'model'?"),
        ("tools: {host: ['*']}", "tools.host: did you mean 'hosts'?"),
        ("tools: {sandbox: {second: 3}}", "tools.sandbox.second: did you mean 'seconds'?"),
        ("scheduler: {default: {polcy: las}}", "scheduler.default.polcy: did you mean 'policy'?"),
        ("budgets: {person: {mony: 5}}", "budgets.person.mony: did you mean 'money'?"),
        ("retention: {call: 3}", "retention.call: did you mean 'calls'?"),
    ],
)
def test_a_wrong_field_is_told_the_nearest_of_those_beside_it(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InvalidRequest) as refused:
        load({"data": tmp_path})
    assert refused.value.message == f"configuration: {hint}"


def test_the_environment_goes_over_the_file_and_lists_are_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("port: 1\nhost: 127.0.0.2\nanomalies: {canaries: [abc], most: {calls: 3}}\n")
    monkeypatch.setenv("LLMAGENT_OS_PORT", "2")
    monkeypatch.setenv("LLMAGENT_OS_PLUGINS", "[a.py, b.py]")
    found = load({"data": tmp_path})
    assert (found.port, found.host, found.plugins) == (2, "127.0.0.2", [Path("a.py"), Path("b.py")])
    assert found.anomalies.canaries == ("abc",) and found.anomalies.most == {"calls": 3}
    monkeypatch.setenv("LLMAGENT_OS_LIMITS", "{a: 2001-99-99}")
    with pytest.raises(InvalidRequest, match="LLMAGENT_OS_LIMITS"):
        load({"data": tmp_path})


def test_a_retention_that_names_a_few_kinds_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    assert load({"data": tmp_path}).retention == KEPT
    assert load({"data": tmp_path, "retention": {"calls": 7}}).retention == replace(KEPT, calls=7)
    assert load({"data": tmp_path, "retention": {"calls": None}}).retention == replace(KEPT, calls=None)
    with pytest.raises(InvalidRequest, match="retention"):
        load({"data": tmp_path, "retention": {"cals": 7}})


@pytest.mark.parametrize("days", [-3, float("nan")])
def test_fewer_days_than_none_are_refused_before_anything_is_deleted(tmp_path: Path, days: float) -> None:
    with pytest.raises(InvalidRequest, match="calls is a number of days"):
        load({"data": tmp_path, "retention": {"calls": days}})
    assert load({"data": tmp_path, "retention": {"calls": 0}}).retention.calls == 0
