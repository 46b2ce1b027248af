"""A TCP proxy that cuts each connection after a number of bytes that a seed decides: in the middle of anything."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CuttingProxy:
    """Listens on a free port of this machine; every connection through it has a budget of bytes."""

    def __init__(self, port: int, rng: random.Random, least: int, most: int) -> None:
        self.cuts = 0
        self.is_cutting = True
        self.is_refusing = False
        self._upstream_port = port
        self._rng = rng
        self._budget = (least, most)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut_all()

    async def cut_all(self) -> None:
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if self.is_refusing:
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            left = [self._rng.randint(*self._budget)]
            pumps = [
                asyncio.ensure_future(self._pump(reader, up_writer, left)),
                asyncio.ensure_future(self._pump(up_reader, writer, left)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                up_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass  # asyncio's server would log the cancellation of a handler as an error
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: list[int]
    ) -> None:
        """Forward until the budget of the connection is used up: the last bytes still arrive, what follows does not."""
        while data := await reader.read(65536):
            if self.is_cutting:
                writer.write(data[: left[0]])
                left[0] -= len(data)
                if left[0] <= 0:
                    self.cuts += 1
                    await asyncio.wait_for(writer.drain(), 5)
                    return
            else:
                writer.write(data)
            await writer.drain()


@asynccontextmanager
async def cutting_proxy(
    port: int, *, seed: int, least: int, most: int
) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(port, random.Random(seed), least, most)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
