"""A worker of a simulated installation, as its Temporal server sees it: it runs the product's own activities."""

import asyncio
from contextvars import Context
from dataclasses import replace
from typing import Any

from temporalio import activity
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from services.activities import RunActivities
from tests.simulation.processes import Process
from tests.simulation.temporal.executions import ActivityTask

CONVERTER = DataConverter.default.payload_converter


class SimulatedWorker:
    """One process that polls the queue for as long as it lives."""

    def __init__(self, process: Process, activities: RunActivities) -> None:
        self._process = process
        self._activities = {_defined(each).name: each for each in activities.all()}

    @property
    def is_polling(self) -> bool:
        return not self._process.stands_still

    def take(self, task: ActivityTask) -> None:
        self._process.start(self._run(task))

    async def _run(self, task: ActivityTask) -> None:
        do = self._activities[task.type]
        (hint,) = _defined(do).arg_types or [None]
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, workflow_id=task.workflow_id)
        environment.on_heartbeat = lambda *_: _at_server(task.beat)
        task.on_cancel = environment.cancel
        try:
            result = await environment.run(do, CONVERTER.from_payload(task.argument, hint))
        except asyncio.CancelledError:
            _at_server(task.cancelled)
        except ApplicationError as error:
            message, kind = error.message, error.type or ""
            final, delay = error.non_retryable, error.next_retry_delay
            _at_server(lambda: task.failed(message, kind, delay, final=final))
        except Exception as error:
            message, kind = str(error), type(error).__name__
            _at_server(lambda: task.failed(message, kind))
        else:
            _at_server(lambda: task.completed(CONVERTER.to_payload(result)))


def _at_server(tell: Any) -> None:
    """What the server does then is no work of this process."""
    Context().run(tell)


def _defined(do: Any) -> Any:
    return activity._Definition.must_from_callable(do)
