# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The one way in which files are written: the old content or the new one, never half of it, and one writer at a time.

Whatever stops a writer, a full disk included, leaves the file as it was.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

# What a killed writer left behind goes away at the next write, when no living one can still be at it.
STALE_SECONDS = 3600
LOCK_SECONDS = 60.0
_FAR = 2**30  # beyond what a lock file says of its holder: on Windows locked bytes cannot be read


def replace_file(path: str | os.PathLike, content: str | bytes) -> Path:
    """
    Writes a file in one step. A file that was there keeps its mode; a new one has that of the umask. A link is
    replaced, not followed; what is no regular file, such as `/dev/stdout`, is written to as it is.

    Args:
        path (`str` or `os.PathLike`): The file; its folder must exist.
        content (`str` or `bytes`): All of it; text is written as UTF-8, line ends as they are.

    Returns:
        `Path`: of the file.

    Raises:
        `OSError`: It cannot be written. The old file is as it was, and nothing else is left behind.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        if _is_stream(path):
            path.write_bytes(data)
        else:
            _replace(path, data)
    except OSError as error:  # with the name that the caller knows, and not that of the temporary file
        raise OSError(error.errno, f"{error.strerror}; what was there is as it was", str(path)) from error
    return path


def write_json(path: str | os.PathLike, content: Any) -> Path:
    """[`replace_file`] with a JSON document, indented."""
    return replace_file(path, json.dumps(content, indent=2) + "\n")


def _is_stream(path: Path) -> bool:
    special = path.exists() and not path.is_file() and not path.is_dir()
    return special or path.parent in (Path("/dev"), Path("/dev/fd"))


def _temporary(path: Path) -> Path:
    # The underscore keeps the Trainer from uploading it, and a name of its own keeps two writers apart.
    return path.with_name(f"_{path.name[:40]}.{uuid.uuid4().hex}.tmp")


def _replace(path: Path, data: bytes) -> None:
    for stale in path.parent.glob(f"_{_escaped(path.name[:40])}.{'[0-9a-f]' * 32}.tmp"):
        with suppress(OSError):
            if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                stale.unlink()
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:  # respects the umask, which `mkstemp` does not
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(temporary, path.stat().st_mode & 0o777)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


@contextmanager
def locked(path: str | os.PathLike, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """
    Keeps other writers of a file away, of this machine and of others that share the folder, whoever they are. The
    lock is a file beside it that says who holds it and goes away in the end; one whose holder was killed is free.

    Args:
        path (`str` or `os.PathLike`): The file to be changed.
        timeout (`float`, *optional*, defaults to 60): How many seconds to wait for another writer.

    Raises:
        `TimeoutError`: Another one still holds it; the message says which and since when.
        `OSError`: The folder cannot be written, or its file system knows no locks.
    """
    path = Path(path)
    # The underscore keeps scripts/push_to_hub.py and the Trainer from uploading it.
    lock = path.with_name(f"_{path.name}.lock")
    deadline = time.monotonic() + timeout
    while (descriptor := _acquired(lock)) is None:
        if time.monotonic() >= deadline:
            waited = f" for more than {timeout:g} seconds" if timeout else ""
            raise TimeoutError(
                f"`{path}` must be free to be written, got a lock held{waited} by {_holder(lock)}: wait for that "
                "process or end it, then try again."
            )
        time.sleep(0.01)
    try:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
        yield
    finally:
        with suppress(OSError):  # Windows does not remove what is open
            lock.unlink()
        os.close(descriptor)


def _acquired(lock: Path) -> int | None:
    """A descriptor that holds the lock, or `None` while another one does."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OSError(
            error.errno,
            f"`{lock.parent}` must be a folder that can be written, got {error.strerror}: copy it to a place of yours",
        ) from error
    try:
        # Whoever held it has removed the file: the next one makes another, and two files would be two locks.
        if _try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
    except FileNotFoundError:
        pass
    except OSError as error:
        os.close(descriptor)
        raise OSError(
            error.errno,
            f"`{lock.parent}` must be on a file system that can lock files, got {error.strerror}: write to a local "
            "disk and copy the folder",
        ) from error
    os.close(descriptor)
    return None


def _try_lock(descriptor: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _holder(lock: Path) -> str:
    try:
        return lock.read_text(encoding="utf-8") or "a process that has just taken it"
    except (OSError, ValueError):
        return "a process that cannot be told"
