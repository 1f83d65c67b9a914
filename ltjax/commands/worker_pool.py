"""One pool of worker processes for all commands: jobs, a shared object that each worker gets once, a progress bar."""

import multiprocessing
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ltjax.errors import InputError
from ltjax.processes import end_with_parent, without_interrupts

Shared = TypeVar("Shared")
Job = TypeVar("Job")
Result = TypeVar("Result")
Advance = Callable[[int], object]  # takes the number of images done since the last call
Work = Callable[[Shared, Job, Advance], Result]

POLL = 0.2  # seconds between updates from the workers' counters


def run_jobs(
    work: Work[Shared, Job, Result], shared: Shared, jobs: Sequence[Job], *, workers: int, total: int, advice: str
) -> Iterator[tuple[Job, Result]]:
    """Does every job, with a progress bar over ``total`` images on stderr.

    Args:
      work: (shared, job, advance) -> result; a function of a module, which calls ``advance(n)`` after n more images.
      shared: what all jobs need, such as the files to read; picklable.
      jobs: picklable.
      workers: processes at most; with one, or one job, everything is done in this process.
      total: the images of all jobs together.
      advice: the end of the message when a worker process dies, such as "use fewer --workers".

    Yields:
      Each job with its result, in the order in which they are done.

    Raises:
      InputError: when a worker process dies.
      Whatever a job raises; the jobs that have not begun are then dropped.
    """
    from tqdm import tqdm  # not in the base install

    # On a terminal a line that is redrawn, in a log file a line every half minute.
    every = POLL if sys.stderr.isatty() else 30.0
    with tqdm(total=total, unit=" images", mininterval=every, maxinterval=every, disable=not jobs) as bar:
        if min(workers, len(jobs)) <= 1:
            for job in jobs:
                yield job, work(shared, job, bar.update)
        else:
            yield from _in_processes(work, shared, jobs, min(workers, len(jobs)), bar, advice)


def _in_processes(
    work: Work[Shared, Job, Result], shared: Shared, jobs: Sequence[Job], workers: int, bar: Any, advice: str
) -> Iterator[tuple[Job, Result]]:
    context = multiprocessing.get_context("spawn")
    try:
        done = context.RawArray("q", len(jobs))  # images of every job; without a lock, which could die with its holder
        context.Lock()  # as the pool makes
    except (OSError, ImportError) as error:
        raise InputError(
            f"{workers} worker processes cannot share memory ({error}): use --workers=1, or start the container with "
            "docker run --shm-size=1g"
        ) from error
    import cloudpickle  # not in the base install

    # In a file: a worker that dies while it is still being sent much would leave its parent waiting forever.
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shared")
        with open(path, "wb") as file:
            cloudpickle.dump(shared, file)  # functions of the user's file go with their code
        pool = futures.ProcessPoolExecutor(workers, context, _start_worker, (path, done))
        try:
            with without_interrupts():  # the workers are started here
                running = {pool.submit(_do, work, job, number): job for number, job in enumerate(jobs)}
            while running:
                ended, _ = futures.wait(running, timeout=POLL, return_when=futures.FIRST_COMPLETED)
                bar.update(sum(done) - bar.n)
                for future in ended:
                    yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise InputError(f"a worker process died, perhaps for lack of memory; {advice}") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_worker: tuple[Any, Any] | None = None  # in a worker process: the shared object, the counters of all jobs


def _start_worker(path: str, done: Any) -> None:
    global _worker
    end_with_parent()
    with open(path, "rb") as file:
        _worker = pickle.load(file), done


def _do(work: Work[Any, Job, Result], job: Job, number: int) -> Result:
    assert _worker is not None
    shared, done = _worker

    def advance(count: int) -> None:
        done[number] += count

    return work(shared, job, advance)
