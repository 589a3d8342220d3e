"""`anymask annotate DIR`: label a folder of photos in the browser, with the model's help."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

from anymask.cli.extras import need_engine, need_server
from anymask.cli.options import add_model_options, read_model
from anymask.cli.pictures import add_picture_options, read_pictures
from anymask.cli.project_options import add_init_options, login, make_project
from anymask.cli.serve import (
    add_server_options,
    check_model,
    exported_choice,
    listen,
    make_inference,
    read_access,
    read_clips,
    read_limits,
)
from anymask.engine.entries import Arm, Stage
from anymask.families import DEFAULT_MODEL
from anymask.jobs.choices import ModelChoice

SUMMARY = "label a folder of photos in the browser: click, correct, review, export"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="of photos; becomes a project")
    parser.add_argument("--user", metavar="NAME", default=login(), help="(default: your login)")
    parser.add_argument(
        "--stage", choices=get_args(Stage), help="what the page opens with (default: as last time)"
    )
    parser.add_argument(
        "--arm", choices=get_args(Arm),
        help="control: polygon and brush only, to measure what the model saves",
    )  # fmt: skip
    add_init_options(parser)
    add_picture_options(parser)
    add_server_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> None:
    """Serve page and project until Ctrl-C. Raises AnymaskError for what the user can mend."""
    need_server()
    need_engine()
    from anymask.runtimes.open import find_bundle
    from anymask.serving.app import ServerParts, create_app
    from anymask.serving.label_routes import labelled_masks
    from anymask.serving.own_names import OwnNames
    from anymask.serving.pages import model_assets, page_assets
    from anymask.serving.picture_routes import PictureLook
    from anymask.serving.project import project_router

    access, limits, pictures = read_access(args), read_limits(args), read_pictures(args)
    clips = read_clips(args)
    project = make_project(args)
    project.change(stage=args.stage, arm=args.arm)
    with tempfile.TemporaryDirectory(prefix="anymask-annotate-") as folder:
        choice = exported_choice(leading_model(read_model(args), project.lead()), Path(folder))
        check_model(choice)
        bundle = find_bundle(choice.model, choice.weights)
        inference = make_inference(choice, args, Path(folder))
        router = project_router(project, inference, limits, args.user, pictures)
        assets = page_assets() | model_assets(bundle)
        own = OwnNames(labelled_masks(project, PictureLook(pictures, limits)))
        app = create_app(ServerParts(inference, access, limits, assets, [router], clips, own))
        listen(app, args, inference)


def leading_model(choice: ModelChoice, lead: str) -> ModelChoice:
    """The project's promoted model, where the user has named no other."""
    if choice.model != DEFAULT_MODEL or choice.weights is not None:
        return choice
    return replace(choice, model=lead)
