"""Options of `temporal server start-dev` for tests."""

CHASM = (
    "--dynamic-config-value",
    "history.enableCHASMSchedulerCreation=true",
    "--dynamic-config-value",
    "history.chasmSchedulerCreationRolloutPercent=100",
)
"""The newer of the two schedulers."""

FAST_PRAGMAS = ("--sqlite-pragma", "synchronous=off", "--sqlite-pragma", "journal_mode=memory")
"""For a server that nobody kills: its database has less to write, and does not wait for the disk."""
