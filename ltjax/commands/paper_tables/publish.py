"""A folder of published results: results.json of each finished cell, without its workdir, and what made it.

The files are small and hold no path of the machine, so that a repository can keep them. The table is made of them.
"""

import json
import os
from collections.abc import Sequence

from ltjax.commands.paper_tables.structure import FINISHED, Cell, State
from ltjax.errors import InputError
from ltjax.settings import user_paths

COMMAND = "command"  # an entry of a published results.json that a run's own has not


def command_of(words: Sequence[str]) -> str:
    """The training command of a cell as it is published: without workdir and settings that change no result.

    Of an absolute path the last part stays.

    Example:
      >>> command_of(["--config=configs/cifar100_ce.py", "--workdir=w", "--config.num_seeds=1", "--config.data.dir=D"])
      'python -m ltjax.main --config=configs/cifar100_ce.py --config.num_seeds=1'
      >>> command_of(["--config=/home/me/my_sweep.py:base", "--config.model.pretrained=~/weights/a.npz"])
      'python -m ltjax.main --config=my_sweep.py:base --config.model.pretrained=a.npz'
    """
    import shlex

    from ltjax.settings.identity import run_only

    def matters(word: str) -> bool:
        key = word.removeprefix("--no").removeprefix("--").partition("=")[0]
        return key != "workdir" and key.removeprefix("config.") not in run_only()

    def without_folder(word: str) -> str:
        flag, equals, value = word.partition("=")
        return f"{flag}{equals}{os.path.basename(value)}" if os.path.isabs(os.path.expanduser(value)) else word

    return shlex.join(["python", "-m", "ltjax.main", *(without_folder(word) for word in words if matters(word))])


def write_published(folder: str, cell: Cell, state: State, command: str) -> None:
    """Writes the results of a finished cell to ``folder/CELL/results.json``; what was there before is replaced."""
    from ltjax.data.storage.paths import write_atomically
    from ltjax.training.workdir.identity import absolute

    place = absolute(os.path.join(folder, cell.name))
    try:
        place.mkdir(parents=True, exist_ok=True)
        content = {COMMAND: command} | (state.results or {})
        if content.get("skipped"):  # what is wrong with an image begins with its path
            content["skipped"] = [{"index": record["index"]} for record in content["skipped"]]
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
        write_atomically(place / "results.json", "{\n" + ",\n".join(lines) + "\n}\n")
    except OSError as error:
        raise InputError(f"--publish={folder}: cannot be written ({error.strerror or error})") from None


def published_state(folder: str, cell: Cell, command: str) -> State:
    """The published results of a cell, if they are of this command."""
    from ltjax.training.workdir.identity import absolute
    from ltjax.training.workdir.json_files import read_object

    path = absolute(os.path.join(user_paths.absolute(folder), cell.name)) / "results.json"
    if not path.exists():
        return State("not published")
    found = read_object(path)
    if found is None:
        return State("its results.json is damaged")
    if found.get(COMMAND) != command:
        return State(f"published of another command: {found.get(COMMAND)}")
    return State(FINISHED, found)
