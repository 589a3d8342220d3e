"""Folder jobs on the command line: options, progress and summary.

The jobs themselves run in `anymask.jobs`.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from anymask.base import InputError, ProgressBar, clock_text, file_suffix, say, write_json
from anymask.cli.command import Argument, Group, Settings
from anymask.cli.options import check_own_names, read_options, report_pages
from anymask.cli.outputs import NAME_FIELD, check_suffix
from anymask.jobs import (
    FIRST_FAILURES,
    FolderJob,
    ImageTask,
    ModelSettings,
    Summary,
    finish_job,
    run_job,
)
from anymask.masks import counted

# fmt: off
FOLDER_OPTIONS = Group("batch options", (
    Settings(FolderJob, common=("workers",)),
    Argument("--json", metavar="FILE", type=Path,
        help="write a summary with counts, speed and settings; failures are always listed in "
             "DIR/errors.jsonl"),
))
# fmt: on


def read_job(
    args: argparse.Namespace,
    sources: Sequence[Path],
    outputs: Sequence[str],
    endings: tuple[str, str],
    own_suffix: str = "",
) -> FolderJob:
    """Create a job from the options of `FOLDER_OPTIONS` and the images. Raises InputError.

    Args:
        sources: Folders and images.
        outputs: One folder, or a file name with {name}. Defaults to the current folder.
        endings: Name endings of results in the current folder, and of a folder's output folder.
        own_suffix: Suffix of files that a single output may name.
    """
    if len(outputs) > 1:
        raise InputError(
            f"Only one output folder is supported. Remove all but one: {', '.join(outputs)}"
        )
    is_folder = len(sources) == 1 and sources[0].is_dir()
    named: tuple[tuple[str, Path], ...] = ()
    if len(sources) > 1 and not outputs:
        check_own_names(sources)
    output = Path(outputs[0]) if outputs else Path()
    beginning, ending = "", "" if outputs or is_folder else endings[0]
    if own_suffix and NAME_FIELD in output.name and file_suffix(output):
        output, stem = output.parent, output.name.removesuffix(output.suffix)
        beginning, ending = stem.split(NAME_FIELD, 1)
        check_suffix(outputs[0], (own_suffix,))
    elif is_folder and not outputs:
        output = Path(sources[0].resolve().name + endings[1])
    elif own_suffix and outputs and file_suffix(outputs[0]) == own_suffix:
        output, named = output.parent, ((own_suffix, output),)
    elif own_suffix and outputs:
        check_suffix(outputs[0], (own_suffix,))
    job = FolderJob(
        source=sources[0] if len(sources) == 1 else tuple(sources),
        output=output, page=getattr(args, "page", 0), beginning=beginning, ending=ending,
        named=named, **read_options(args, FolderJob),
    )  # fmt: skip
    if named and not job.one:
        raise InputError(f"-o {outputs[0]} is a file, but there are several images. Pass a folder.")
    return job


def run_folder(
    job: FolderJob, task: ImageTask, summary_file: Path | None, empty: str = "", each: str = ""
) -> None:
    """Process the images of a folder and print a summary. Raises DataError if images failed.

    Args:
        empty: Message for an image without a result; "" prints nothing.
        each: Name of a result, to print their number for each image; "" prints nothing.
    """
    bar, made = ProgressBar("images"), 0  # measures time from here

    def show(now: Summary) -> None:
        """Update the progress bar, and print the result or the failure of the latest image."""
        nonlocal made
        is_first, bar.total = bar.total is None, now.images
        if is_first:
            stack.enter_context(bar)
        if now.failure is not None and now.failed <= FIRST_FAILURES + 1:
            line = f"{now.failure.image}: {now.failure.reason}"
            if now.failed > FIRST_FAILURES:
                line = f"all other failures are listed in {job.log}"
            with bar.silent():
                print(f"anymask: {line}", file=sys.stderr)
        count, made = now.made - made, now.made
        if now.image is not None and each:
            with bar.silent():
                print(f"{now.image}: {counted(count, each)}", flush=True)
        elif now.image is not None and empty and not count and now.empty <= FIRST_FAILURES:
            with bar.silent():
                print(f"anymask: {now.image}: {empty}", file=sys.stderr)
        bar.note = f"{now.failed} failed" if now.failed else ""
        bar.update(now.tried, free=now.skipped)

    with contextlib.ExitStack() as stack, finish_job():
        summary = run_job(job, task, show)
    counts = (
        f"{summary.done} done, {summary.skipped} skipped (done before), {summary.failed} failed"
    )
    if empty and summary.empty:
        counts += f", {summary.empty} of those done without a result"
    rate = f"{summary.rate:.2g}" if summary.rate < 10 else f"{summary.rate:.0f}"
    pace = f"{clock_text(summary.seconds)}, {rate} images per second"
    say(counts + (f"; {pace}; written to folder {job.output}" if summary.done else ""))
    if summary_file:
        write_json(summary_file, summary.to_json(job), indent=2)
    summary.check(job)


def run_image(
    job: FolderJob, task: ImageTask, summary_file: Path | None, what: str = ""
) -> int | None:
    """Process one image; return the number of results, or None if they exist already.

    Prints which page of a multi-page file is used.

    Args:
        what: Name of its steps, for a progress bar.
    """
    item = job.item()
    if item.page is None and isinstance(model := getattr(task, "model", None), ModelSettings):
        report_pages(item.image, say, model)
    with contextlib.ExitStack() as stack:
        on_step = stack.enter_context(ProgressBar(what)).update if what else None
        stack.enter_context(finish_job())
        summary = run_job(job, task, on_step=on_step)
    if summary_file:
        write_json(summary_file, summary.to_json(job), indent=2)
    return None if summary.skipped else summary.made
