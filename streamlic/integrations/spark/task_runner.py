"""Runs tasks on a Spark cluster: each is a Spark job of one task.

Rules:
1. A job of its own for each task lets the driver commit a result when its task ends. Jobs that run
   at once share the cluster as the tasks of one job would.
2. Spark runs a task again whose executor was lost. Each attempt has a number of its own in the
   application, and only one attempt's result arrives.
3. Whatever stops the driver's call ends its jobs, by a tag that no other job has.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError
from pyspark import TaskContext, inheritable_thread_target

from streamlic.errors import TaskFailed
from streamlic.formatting import counted
from streamlic.integrations.spark.task_rate import TaskRate
from streamlic.job.tasks import Task, TaskResult, run_task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|[\w.]+\.[A-Z]\w+): .*", re.MULTILINE)
_MOST_CHARACTERS = 500


class SparkTasks:
    """The tasks of one run on a cluster. ``close`` it."""

    def __init__(self, spark: SparkSession, slots: int, rate: TaskRate) -> None:
        self.slots = slots
        self._context = spark.sparkContext
        self._rate = rate
        self._tag = f"streamlic-{secrets.token_hex(8)}"
        failures = self._context.getConf().get("spark.task.maxFailures", "4")
        self._most_attempts = int(failures or 4)
        self._threads = ThreadPoolExecutor(slots, "streamlic-spark")
        # Here, in the caller's thread: it has the properties, such as the scheduler's pool.
        self._collect = inheritable_thread_target(spark)(self._run)
        self._is_cancelled = False

    async def run(self, task: Task) -> TaskResult:
        """Run a task, again if its executor is lost. Raises what ended it for good."""
        return await asyncio.wrap_future(self._threads.submit(self._collect, task))

    def cancel(self) -> None:
        """End all jobs soon."""
        self._is_cancelled = True
        with suppress(Py4JError):  # The context has ended, and its jobs with it.
            self._context.cancelJobsWithTag(self._tag)

    def close(self) -> None:
        """Wait until the threads have ended. All tasks have to have ended, or to be cancelled."""
        self._threads.shutdown()

    def _run(self, task: Task) -> TaskResult:
        context = self._context
        first = task.requests[0].account
        context.addJobTag(self._tag)
        context.setInterruptOnCancel(True)
        context.setJobDescription(
            f"streamlic: {counted(len(task.requests), 'account')} from {first} to {task.dest}"
        )
        work = partial(_work, task, self._rate, self._most_attempts)
        try:
            if self._is_cancelled:
                raise TaskFailed("the run was ended before this task")
            [result] = context.parallelize([0], 1).mapPartitions(work).collect()
        except Py4JError as error:
            raise TaskFailed(
                f"Spark gave up a task after {self._most_attempts} attempts: {_reason(error)}",
                advice="look at the log of its executor; the same call continues the run",
            ) from error
        return result  # type: ignore[no-any-return]


def _work(
    task: Task, rate: TaskRate, most_attempts: int, given: Iterator[Any]
) -> Iterator[TaskResult]:
    """Run one attempt of a task, in the Python process of an executor."""
    for _ in given:
        pass  # Spark ends a process that leaves some: the next task would count from nothing.
    context = TaskContext.get()
    assert context is not None  # noqa: S101  (a task runs here)
    is_last = context.attemptNumber() + 1 >= most_attempts
    yield run_task(
        task,
        context.taskAttemptId(),
        budget=rate.settings,
        is_last=is_last,
    )


def _reason(error: Py4JError) -> str:
    """Return what Python raised in the task, or else what Spark says, in short."""
    text = str(getattr(error, "java_exception", None) or error)
    raised = _RAISED.findall(text)
    of_python = [one for one in raised if not one.startswith(("org.", "java."))]
    first = (of_python or raised or text.strip().splitlines() or ["no reason was given"])[0]
    return str(first)[:_MOST_CHARACTERS]
