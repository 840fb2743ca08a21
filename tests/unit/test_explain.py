"""The page of an explanation, in a browser."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llmagent_os.core import codec
from llmagent_os.llm.explain import page

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\">"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def explanation() -> dict[str, Any]:
    """Three tokens of prompt and one of answer; each token looks at itself alone, but the last at the first."""
    looked_at = [0, 1, 2, 0]
    one = b"".join(bytes(255 * (column == at) for column in range(4)) for at in looked_at)
    return {
        "tokens": ["Is", HOSTILE, " warm", " yes"],
        "prompt_tokens": 3,
        "layers": 2,
        "heads": 2,
        "attention": base64.b64encode(one * 4).decode(),
        "rollout": base64.b64encode(one).decode(),
        "attribution": [[0.125, -0.25, 0.625]],
    }


def test_the_page_holds_the_data_and_loads_nothing() -> None:
    text = page(explanation())
    data = text.partition('id="explanation">')[2].partition("</script>")[0]
    assert codec.loads(data) == explanation()
    assert "http://" not in text and "https://" not in text and "src=" not in text.replace(data, "")
    assert "default-src 'none'" in text


def opened(tmp_path: Path, *flags: str) -> str:
    """What a browser makes of the page."""
    file = tmp_path / "page.html"
    file.write_text(page(explanation()), "utf-8")
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/user",
        *flags,
        file,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_shows_the_shares_and_the_weights(tmp_path: Path) -> None:
    shown = opened(tmp_path, "--dump-dom")
    assert "3 tokens of prompt, 1 of answer; 2 layers of 2 heads." in shown
    assert "(4) was made most from: “ warm” (3) 62.5 %" in shown and "(2) -25.0 %, “Is” (1) 12.5 %" in shown
    assert "“ yes” (4) looks at “Is” (1): 100.0 %" in shown
    assert "<title>Explanation of an answer</title>" in shown and "<img" not in shown
    assert shown.count("</option>") == 7


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_a_browser_draws_the_map(tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    opened(tmp_path, f"--screenshot={picture}", "--window-size=1000,1200")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
