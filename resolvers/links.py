"""Where a clock or a workflow is to be seen in Temporal's own web UI."""

from urllib.parse import quote

from resolvers.context import Context


def to_schedule(context: Context, temporal_id: str) -> str | None:
    return _link(context, "schedules", temporal_id)


def to_workflow(context: Context, temporal_id: str) -> str | None:
    return _link(context, "workflows", temporal_id)


def _link(context: Context, what: str, temporal_id: str) -> str | None:
    """None where the server was not told of a UI."""
    server = context.services.server
    if not server.temporal_ui_url:
        return None
    base, namespace = server.temporal_ui_url.rstrip("/"), quote(server.temporal_namespace, safe="")
    return f"{base}/namespaces/{namespace}/{what}/{quote(temporal_id, safe='')}"
