"""Options of `temporal server start-dev` for tests."""

CHASM = (
    "--dynamic-config-value",
    "history.enableCHASMSchedulerCreation=true",
    "--dynamic-config-value",
    "history.chasmSchedulerCreationRolloutPercent=100",
)
"""The newer of the two schedulers."""

LIGHT = (
    *("--sqlite-pragma", "synchronous=off", "--sqlite-pragma", "journal_mode=memory"),
    *("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    *("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
)
"""For a server that nobody kills, and that many tests share: its database does not wait for the disk, and each of their
task queues is one and not four."""
