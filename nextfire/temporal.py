"""Connecting to Temporal by the standard TEMPORAL_* variables."""

from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import KeepAliveConfig

DEFAULT_ADDRESS = "localhost:7233"
KEEP_ALIVE = KeepAliveConfig(interval_millis=12_000, timeout_millis=8_000)
"""A connection that leads nowhere is given up within 20 s. A server minds pings that come more often than each 10 s."""


async def temporal_client(*, lazy: bool) -> Client:
    """A client; a lazy one connects at its first call, so that a process starts though Temporal is away.

    A worker cannot be lazy: connect for it once Temporal answers. Raises RuntimeError where it does not.

    Address, namespace, TLS and API key come from TEMPORAL_* or the profile in TEMPORAL_CONFIG_FILE, as
    `temporalio.envconfig` reads them: a self-hosted cluster or Temporal Cloud.
    """
    defaults = {"target_host": DEFAULT_ADDRESS, "keep_alive_config": KEEP_ALIVE}
    config: dict[str, Any] = {**defaults, **ClientConfig.load_client_connect_config()}
    return await Client.connect(**config, lazy=lazy)
