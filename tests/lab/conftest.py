# SPDX-License-Identifier: GPL-3.0-or-later
"""Real containers for the tests of this folder; whatever a test makes is removed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .application import SECRETS, Services, leaks
from .boxes import Box, Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with Lab() as made:
        started = Services(made, tmp_path_factory.mktemp("tls"))
        assert started.migrate()[0] == 0
        yield started


@pytest.fixture
def backend(lab: Lab, services: Services) -> Iterator[Callable[..., Box]]:
    """Starts backends that the test may do anything to."""
    running: list[Box] = []

    def start(image: str = "backend", files: dict[str, str] | None = None, **env: str | None) -> Box:
        running.append(services.start(lab, image, files=files, **env))
        return running[-1]

    yield start
    assert not leaks("".join(box.said() for box in running), SECRETS)


@pytest.fixture(scope="session")
def steady(services: Services) -> Iterator[Box]:
    """One backend for all tests that leave it as it is."""
    box = services.start(services.lab)
    yield box.healthy()
    assert not leaks(box.said(), SECRETS)
