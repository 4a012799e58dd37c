"""Connections on which nothing happens: given up after a while, so that none stays for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_MIN_BYTES = 64  # bytes by which a body must grow within the time, or it counts as stuck


class PatientProtocol(H11Protocol):
    """uvicorn's protocol for one connection, with a time limit on waiting for the client.

    A client has `patience` for each heading of a request, as long for every `_MIN_BYTES` bytes of
    its body, and for reading anything of an answer that waits to be sent. The time in which an
    answer is computed does not count.

    Attributes
    ----------
    patience : float
        Seconds until the connection is dropped.
    """

    patience = 30.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._wait_anew()

    def data_received(self, data: bytes) -> None:
        """Receive data; a new request, or enough of a body, restarts the time limit."""
        before = self.cycle
        super().data_received(data)
        self._received += len(data)
        grows = self._awaits_body() and self._received >= _MIN_BYTES
        if self.cycle is not before or grows:
            self._wait_anew()

    def pause_writing(self) -> None:
        """Begin to wait until the client reads."""
        super().pause_writing()
        self._wait_anew()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait_anew()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _wait_anew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._received = 0
        self._unsent = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self.patience, self._drop_if_stuck)

    def _drop_if_stuck(self) -> None:
        computes = not (self._awaits_heading() or self._awaits_body() or self.flow.write_paused)
        reads = 0 < self.transport.get_write_buffer_size() < self._unsent
        if computes or reads:
            self._wait_anew()
        else:
            self.transport.abort()

    def _awaits_heading(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or cycle.response_complete

    def _awaits_body(self) -> bool:
        return not self._awaits_heading() and self.cycle.more_body
