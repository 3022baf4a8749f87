"""Requests to a served model while something happens to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx


@dataclass
class Load:
    """Clients that ask on and on, and what they were answered.

    Attributes:
        url: Of the service.
        texts: What they ask, in turns.
        clients: How many there are.
        pause: Seconds that each waits between an answer and its next request.
        answers: Status and version of each answer, in their order.
        errors: Requests that got no answer.
    """

    url: str
    texts: Sequence[str]
    clients: int = 6
    pause: float = 0.0
    answers: list[tuple[int, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(number,)) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, number: int) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._over.is_set():
                number += 1
                text = self.texts[number % len(self.texts)]
                try:
                    answer = client.post(f"{self.url}/predict", json={"text": text})
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                else:
                    self.answers.append((answer.status_code, answer.headers.get("x-model-version", "")))
                self._over.wait(self.pause)
