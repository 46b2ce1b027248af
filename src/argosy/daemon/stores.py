"""Opens the store that a server's settings name."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from argosy.daemon import sd_notify
from argosy.errors import Temporary
from argosy.settings import StoreKind, StoreSettings
from argosy.store.base import Store
from argosy.store.etcd.store import EtcdStore
from argosy.store.sqlite import SqliteStore

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


def sqlite_path(settings: StoreSettings, directory: Path) -> Path:
    return settings.path or directory / "store.db"


async def open_store(settings: StoreSettings, directory: Path) -> Store:
    """directory: the server's. Raises StoreUnavailable when nobody answers now, StoreRefused, Invalid."""
    if settings.kind is StoreKind.ETCD:
        return await EtcdStore.connect(settings.etcd)
    return await SqliteStore.open(sqlite_path(settings, directory))


async def wait_for_store(settings: StoreSettings, directory: Path) -> Store:
    """As `open_store`, but a store that does not answer is waited for, and said to be."""
    told = ""
    while True:
        try:
            return await open_store(settings, directory)
        except Temporary as problem:
            if str(problem) != told:
                told = str(problem)
                log.warning("waiting for the store: %s", told)
                sd_notify.tell(f"STATUS=waiting for the store: {told}")
            await asyncio.sleep(RETRY_SECONDS)
