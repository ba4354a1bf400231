"""ARCHITECTURE.md names every module, and nothing that is not there."""

from __future__ import annotations

import re

from tests.conftest import ROOT


def sections() -> dict[str, str]:
    """The text under each heading that names a folder, by folder."""
    parts = re.split(r"^### `([^`]+)/`.*$", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_module_has_its_line() -> None:
    named = {
        (folder, path) for folder, text in sections().items() for path in re.findall(r"`([\w/]+\.(?:py|rs))`", text)
    }
    named = {(folder, path) for folder, path in named if not path.startswith("tests/")}
    rooms = {
        ("/".join(path.parts[:2]), "/".join(path.parts[2:]))
        for path in (p.relative_to(ROOT) for p in (ROOT / "manaflow").rglob("*.py"))
        if len(path.parts) > 2 and path.name not in ("__init__.py", "__main__.py")
    }
    crates = {("native", path.name) for path in (ROOT / "native" / "src").glob("*.rs")}
    assert named == rooms | crates


def test_every_path_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text().split("## Rooms")[0]
    for path in re.findall(
        r"`((?:moves|rules|evm|validator|coordinator|fraudproof|cli)/[\w/]+\.py|native/src/\w+\.rs)`", text
    ):
        assert (ROOT / path if path.startswith("native") else ROOT / "manaflow" / path).is_file(), path
