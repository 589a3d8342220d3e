"""Commands over many photos: what is done is skipped, what fails does not stop the rest."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anymask.cli.progress import follow
from anymask.primitives.errors import AnymaskError, DataError, InputError


@dataclass(frozen=True)
class Job:
    """One photo and the stem (folder and name without suffix) of its outputs."""

    photo: Path
    stem: Path

    def output(self, suffix: str) -> Path:
        """The output with this suffix."""
        return self.stem.with_name(self.stem.name + suffix)


def find_jobs(source: Path, out: Path) -> list[Job]:
    """A photo, or every photo in a folder, with a place in `out` for each.

    Outputs are called like the photo without its suffix, in the same sub-folder; where two photos
    differ in the suffix only, both keep it. Raises InputError where there is no photo.
    """
    from anymask.data.images import find_images

    if not source.is_dir():
        return [Job(source, out / source.stem)]
    inside = out.resolve()
    photos = [path for path in find_images(source) if inside not in path.resolve().parents]
    if not photos:
        raise InputError(f"there are no photos in {str(source)!r}; name a folder that has some")
    stems = Counter(path.with_suffix("") for path in photos)
    named = {
        path: path if stems[path.with_suffix("")] > 1 else path.with_suffix("") for path in photos
    }
    return [Job(path, out / named[path].relative_to(source)) for path in photos]


def work_through(jobs: list[Job], what: str, work: Callable[[Job], bool]) -> None:
    """Do each job; a failure is told and the rest goes on.

    what  the work in a word, for the progress
    work  does one job and returns whether there was anything to do

    Raises DataError at the end when jobs failed.
    """
    done = failed = 0
    for job in follow(jobs, what):
        try:
            done += work(job)
        except (AnymaskError, OSError) as error:
            failed += 1
            clear = "\r\x1b[K" if sys.stderr.isatty() else ""
            print(f"{clear}anymask: {job.photo}: {error}", file=sys.stderr)
    there = len(jobs) - done - failed
    print(f"{done} done, {there} there already, {failed} failed")
    if failed:
        raise DataError(
            f"{failed} of {len(jobs)} photos failed, see above; mend or remove them and run the "
            "same command again, what is done is kept"
        )
