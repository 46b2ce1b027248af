"""One member of etcd as one gRPC channel: its address, how it is trusted, what is open to it.

A channel is connected on demand and reconnects by itself. The options below replace defaults of gRPC that are made for
fleets behind load balancers: minutes of backoff, 4 MiB of answer, a proxy from the environment.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
import grpc.aio
from grpc import ChannelConnectivity

from argosy.errors import Invalid
from argosy.settings import EtcdSettings
from argosy.store.etcd.rpc import STATUS, A, Method, Q

OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a list of 10,000 records is more than 4 MiB
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # only the caller knows what may be sent twice
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    (
        "grpc.use_local_subchannel_pool",
        1,
    ),  # a new channel with new certificates is a new connection
    # A connection that is silent while something is open on it is asked for a sign of life. etcd cuts those who ask
    # more often than every 5 s (--grpc-keepalive-min-time).
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # in truth: how long one attempt to connect may take
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Metadata = tuple[tuple[str, str], ...]
Stream = grpc.aio.StreamStreamCall[Q, A]


class Endpoint:
    """A member's address and the channel to it."""

    def __init__(self, url: str, settings: EtcdSettings) -> None:
        """Raises Invalid for a URL that is none, and for certificates that cannot be read."""
        self.name, is_secure = _address(url)
        if is_secure:
            self._channel = grpc.aio.secure_channel(self.name, _credentials(settings), OPTIONS)
        else:
            _check_plain(self.name, settings)
            self._channel = grpc.aio.insecure_channel(self.name, OPTIONS)
        self._callables: dict[str, Any] = {}
        self._streams: set[Stream[Any, Any]] = set()

    def is_ready(self) -> bool:
        return self._channel.get_state() is ChannelConnectivity.READY

    async def connect(self, timeout: float) -> bool:
        """Whether there is a connection; waits until the attempt to make one ends, at most so many seconds."""
        try:
            async with asyncio.timeout(timeout):
                state = self._channel.get_state(try_to_connect=True)
                while state in {ChannelConnectivity.IDLE, ChannelConnectivity.CONNECTING}:
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return state is ChannelConnectivity.READY

    async def call(
        self, method: Method[Q, A], request: Q, *, timeout: float, metadata: Metadata
    ) -> A:
        """Raises grpc.aio.AioRpcError."""
        call = self._callables.get(method.path)
        if call is None:
            call = self._callables[method.path] = self._channel.unary_unary(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.answer.FromString,
            )
        return cast(A, await call(request, timeout=timeout, metadata=metadata))

    def open(
        self, method: Method[Q, A], requests: AsyncIterator[Q], *, metadata: Metadata
    ) -> Stream[Q, A]:
        """A stream that lives until either side ends it, or `cut_streams`."""
        call = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.answer.FromString,
        )
        stream = call(requests, metadata=metadata)
        self._streams.add(stream)
        stream.add_done_callback(self._streams.discard)
        return cast("Stream[Q, A]", stream)

    def cut_streams(self) -> None:
        """End what is open to this member: it is believed to be stuck, and others can go on from where it was."""
        for stream in tuple(self._streams):
            stream.cancel()

    async def why(self) -> str:
        """In the words of gRPC, why there is no connection; empty when there is one."""
        try:
            await self.call(STATUS, STATUS.request(), timeout=1, metadata=())
        except grpc.aio.AioRpcError as error:
            return _last_words(error.details() or str(error.code()))
        return ""

    async def close(self) -> None:
        await self._channel.close()


def _address(url: str) -> tuple[str, bool]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    is_plain_address = not (
        parts.path.strip("/") or parts.query or parts.fragment or parts.username
    )
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or not port
        or not is_plain_address
    ):
        raise Invalid(
            f"{url!r} is not an endpoint of etcd", hint="write https://HOST:2379, with the port"
        )
    return parts.netloc, parts.scheme == "https"


def _check_plain(name: str, settings: EtcdSettings) -> None:
    if settings.ca_file or settings.cert_file:
        raise Invalid(
            f"certificates are given, but http://{name} would not use them", hint="https://"
        )
    if settings.username and not name.startswith(("127.", "localhost:", "[::1]:")):
        raise Invalid(f"the password would travel in the clear to http://{name}", hint="https://")


def _credentials(settings: EtcdSettings) -> grpc.ChannelCredentials:
    if bool(settings.cert_file) is not bool(settings.key_file):
        raise Invalid("a certificate for etcd needs its key, and a key its certificate")
    return grpc.ssl_channel_credentials(
        root_certificates=read_file(settings.ca_file) if settings.ca_file else None,
        private_key=read_file(settings.key_file) if settings.key_file else None,
        certificate_chain=read_file(settings.cert_file) if settings.cert_file else None,
    )


def read_file(path: Path) -> bytes:
    """A file named in the settings. Raises Invalid with the reason."""
    try:
        return path.read_bytes()
    except OSError as problem:
        raise Invalid(f"cannot read {path}: {os.strerror(problem.errno or 0)}") from problem


def _last_words(details: str) -> str:
    return details.rpartition("last error: ")[2].removeprefix("UNKNOWN: ")
