"""TensorBoard events: scalars, appended to a file by the thread that trains, without queues.

They only report. When they cannot be written the run goes on without them, after one line.
"""

import os
import socket
import struct
import time
from collections.abc import Callable

from etils import epath

FLUSH = 10.0  # seconds between two writes


class Events:
    """The event file of this start of a run, in ``<workdir>/tensorboard``, or in a folder there.

    Args:
      workdir: the run's; in a bucket, where files cannot be appended to, every write replaces the file.
      first: the step that this start begins with; TensorBoard discards events of earlier starts from it on.
      report: logs a line.
      folder: of a seed: TensorBoard draws the curves of several folders into one diagram.
    """

    def __init__(self, workdir: epath.Path, first: int, report: Callable[[str], None], folder: str = "") -> None:
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self.folder, self.report = workdir / "tensorboard" / folder if folder else workdir / "tensorboard", report
        self.path = self.folder / name
        self.appends = "://" not in str(workdir)
        self.unwritten = bytearray()
        self.writes, self.written_at = True, time.monotonic()
        try:
            self._begin(first)
        except Exception as error:  # of another version of protobuf, for one
            self._drop(error)

    def _begin(self, first: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._add(Event(wall_time=time.time(), file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)  # type: ignore[attr-defined]
        self._add(Event(wall_time=time.time(), step=first, session_log=start))
        self.folder.mkdir(parents=True, exist_ok=True)

    def _add(self, event: object) -> None:
        from tensorboardX.record_writer import masked_crc32c

        content = event.SerializeToString()  # type: ignore[attr-defined]
        length = struct.pack("<Q", len(content))
        for part in (length, struct.pack("<I", masked_crc32c(length)), content):
            self.unwritten += part
        self.unwritten += struct.pack("<I", masked_crc32c(content))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds a number; it is written within ``FLUSH`` seconds of training, or by ``flush``."""
        if not self.writes:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        self._add(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
        if self.appends and time.monotonic() - self.written_at > FLUSH:
            self.flush()

    def flush(self) -> None:
        """Writes what is not written yet."""
        if not self.writes or not self.unwritten:
            return
        try:
            if self.appends:
                with open(self.path, "ab", buffering=0) as file:
                    while self.unwritten:
                        del self.unwritten[: file.write(self.unwritten)]
            else:
                self.path.write_bytes(bytes(self.unwritten))
        except Exception as error:  # the client of a bucket has errors of its own
            self._drop(error)
        self.written_at = time.monotonic()

    def _drop(self, error: Exception) -> None:
        self.writes = False
        self.unwritten.clear()
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        self.report(f"{self.folder}: cannot be written ({reason}); the run goes on without TensorBoard events")
