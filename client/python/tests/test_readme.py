"""The examples of README.md and docs/python.md, run as they stand against a real broker."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY, Broker

PAGES = [Path(__file__).parents[1] / "README.md", REPOSITORY / "docs/python.md"]


def examples(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language, with where they are."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for m in re.finditer(rf"```{language}\n(.*?)```", text, re.DOTALL):
            found.append((f"{page.name}:{text[: m.start()].count(chr(10)) + 1}", m[1]))
    return found


@pytest.mark.parametrize("example", [pytest.param(text, id=at) for at, text in examples("python")])
def test_python(shared: Broker, example: str, tmp_path: Path) -> None:
    assert "zk://" not in example
    script = tmp_path / "example.py"
    script.write_text(example.replace("127.0.0.1:8123", shared.address).replace("/var/lib/shop", str(tmp_path)))
    done = subprocess.run([sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_console(shared: Broker) -> None:
    lines = [line[2:] for _, text in examples("console") for line in text.splitlines() if line.startswith("$ python -m metaq")]
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line)
        done = subprocess.run([sys.executable, *words[1:], "--broker", shared.address], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == "", (line, done.stderr)


def test_every_public_name_is_in_a_page() -> None:
    import metaq

    text = "".join(page.read_text() for page in PAGES)
    missing = [n for n in metaq.__all__ if not re.search(rf"\b{n}\b", text)]
    assert missing == []
