# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made for a run is put away, whenever the run is asked to end."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup import postgres
from ansible_collections.kasaneha.deploy.plugins.module_utils.backup.plan import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(instance="shop", root="/r", container="c", database="d", user="u", runtime=str(tmp_path))


@pytest.fixture(autouse=True)
def asked_to_end() -> Iterator[None]:
    """As the command does it."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_folder_whose_maker_is_asked_to_end_is_removed(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = tempfile.mkdtemp

    def slow(**options: Any) -> str:
        made = make(**options)
        signal.raise_signal(signal.SIGTERM)  # made, and not known to anybody yet
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", slow)
    with pytest.raises(SystemExit, match="143"), postgres.client(config, {"container_id": "", "port": "1", "image_id": "i"}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_container_whose_start_is_asked_to_end_is_waited_for(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[postgres.Process] = []
    asked: list[str] = []

    class Slow(postgres.Process):
        def __init__(self, argv: Any, **options: Any) -> None:
            asked.extend(argv)
            super().__init__(["cat"], **options)  # as the container: it ends with our end of the pipe
            started.append(self)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(postgres, "Process", Slow)
    with pytest.raises(SystemExit, match="143"), postgres.client(config, {"container_id": "", "port": "1", "image_id": "i"}):
        pass
    assert started[0].returncode == 0 and list(tmp_path.iterdir()) == []
    # Docker would make the folder of a volume again, which is gone now; that of a mount it misses.
    assert "--mount" in asked and not {"-v", "--volume"} & set(asked)


def test_who_is_not_asked_goes_on() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with postgres.uninterrupted():
        assert signal.getsignal(signal.SIGTERM) is not handler
    assert signal.getsignal(signal.SIGTERM) is handler
