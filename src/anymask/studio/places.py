"""Names and checks of the files of a project: it reads and writes no file outside of its folder."""

from __future__ import annotations

from pathlib import Path

from anymask.base import InputError

PROJECT_FOLDER = ".anymask"
DATABASE = "project.db"
ADDRESS = "project.json"
ROUNDS_FOLDER = "rounds"


def check_own_files(folder: Path) -> None:
    """Check that the `.anymask` folder and the files in it are in the project folder.

    Raises InputError.
    """
    inside = folder / PROJECT_FOLDER
    for path in (inside, *inside.glob("*"), *inside.glob(f"{ROUNDS_FOLDER}/*")):
        own_file(path, folder)


def own_address(address: str, folder: Path) -> str | Path:
    """Return the URL of a server, or the path of a file in the folder. Raises InputError."""
    is_url = "://" in address
    if is_url and not address.startswith("sqlite"):
        return address
    path = address.partition(":///")[2] if is_url else address
    for more in ("", "-wal", "-shm", "-journal"):  # the files that SQLite opens
        own_file(Path(path + more), folder)
    return Path(path).absolute()  # SQLite reads "file:NAME" as a URL


def own_file(path: Path, folder: Path) -> Path:
    """Return a path that is in the folder, with links resolved. Raises InputError for others."""
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # NUL character, too long, or circular links
        inside = False
    if not inside:
        raise InputError(
            f"{path} is outside of {folder}. The files of a project must be in its folder."
        )
    return path


def lies_in_folder(path: Path, folder: Path) -> bool:
    """Whether a path is a file in the folder, with links resolved."""
    try:
        return own_file(path, folder).is_file()
    except InputError:
        return False
