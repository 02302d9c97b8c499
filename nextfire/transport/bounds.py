"""What the transport allows one request, one socket or one operation."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Bounds:
    """Sizes in bytes, times as durations.

    `deadline` holds for queries and mutations with all their parts; subscriptions have none. `header_timeout` is until
    the end of a request's headers, from when its connection is made or it begins. `close_timeout` is for a client to
    confirm the close of its socket.
    `max_message_bytes` should be what the server's own limit is, so that either refuses the same messages.
    `max_silent_sockets` are those of a process that have not said yet who they are.
    """

    max_body_bytes: int = 100_000
    max_message_bytes: int = 256 * 1024
    max_operations_per_socket: int = 100
    max_silent_sockets: int = 500
    deadline: timedelta = timedelta(seconds=30)
    header_timeout: timedelta = timedelta(seconds=10)
    body_timeout: timedelta = timedelta(seconds=30)
    connection_init_timeout: timedelta = timedelta(seconds=10)
    close_timeout: timedelta = timedelta(seconds=2)
    heartbeat: timedelta = timedelta(seconds=12)


DEFAULT_BOUNDS = Bounds()
