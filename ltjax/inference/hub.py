"""Uploads an export to a model hub by ``huggingface_hub``, into a repository of the user's."""

import importlib
import re
from typing import Any

from etils import epath

from ltjax.errors import InputError

REPOSITORY = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
)


def check_repository(name: str) -> None:
    """Raises InputError unless ``name`` is OWNER/NAME and huggingface_hub is installed.

    Example:
      >>> check_repository("mine")
      Traceback (most recent call last):
        ...
      ltjax.errors.InputError: --push=mine: is not OWNER/NAME; write the owner of the repository, a slash and its name
    """
    if not REPOSITORY.fullmatch(name) or "--" in name or ".." in name:
        raise InputError(f"--push={name}: is not OWNER/NAME; write the owner of the repository, a slash and its name")
    _hub()


def push(folder: epath.PathLike, name: str, private: bool) -> str:
    """Makes the model repository where there is none, uploads the files of the folder, and returns its address.

    Raises:
      InputError: if the hub refuses, or cannot be reached; with ``private``, if the repository is public.
    """
    api = _hub().HfApi(library_name="ltjax")
    try:
        address = api.create_repo(name, repo_type="model", private=private, exist_ok=True)
        if private and api.repo_info(name, repo_type="model").private is not True:  # it was there before
            raise InputError(
                f"--push={name}: --private, but this repository is public; make it private, or name another"
            )
        api.upload_folder(
            repo_id=name, folder_path=str(folder), repo_type="model", commit_message="Model exported by ltjax"
        )
    except InputError:
        raise
    except Exception as error:  # its own kinds, those of its HTTP library, and OSError
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"--push={name}: {reason}; log in (hf auth login), then: hf upload {name} {folder}") from error
    return str(address)


def _hub() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise InputError(
            "--push: huggingface_hub is not installed; install it with: pip install 'ltjax[hub]'"
        ) from None
