"""Start the server: `anymask.serve` with a model, `anymask.annotate` with a project."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from fastapi import APIRouter

from anymask.base import THREADS, InputError, import_offline, pick_threads
from anymask.jobs import ImageSettings, ModelSettings, finish_job
from anymask.runtime.open import stated_model
from anymask.segment import EmbeddingCache
from anymask.studio.app import ServerParts, create_app
from anymask.studio.inference import Inference
from anymask.studio.options import Stage
from anymask.studio.pages import page_bundle
from anymask.studio.project import Project, create_project
from anymask.studio.project_routes import ServedProject
from anymask.studio.server import address_of, open_socket, run_server
from anymask.studio.server_options import ServerOptions, named_videos

if TYPE_CHECKING:
    from anymask.find import Detector
    from anymask.keywords import ServerSettings

LOG = logging.getLogger("anymask.studio")


def serve(
    model: str | Path | None = None,
    *,
    routers: Sequence[APIRouter] = (),
    **settings: Unpack[ServerSettings],
) -> None:
    """Run the HTTP server with the annotation page, until Ctrl-C is pressed.

    Args:
        model: Model as for `anymask.load`.
        routers: Further routes, for example of a plug-in.
        settings: Fields of `ServerOptions`.

    Raises:
        InputError: The address is not available, or the settings cannot be combined.
        ModelError, WeightsError: The model cannot be loaded.
    """
    server = ServerOptions(**settings)
    with _server_parts(server, server.model(model or stated_model(server.weights))) as parts:
        _listen(replace(parts, routers=tuple(routers)), server)


def annotate(
    folder: str | Path | Project,
    model: str | Path | None = None,
    *,
    user: str = "annotator",
    stage: Stage | None = None,
    name: str | None = None,
    labels: Sequence[str] = (),
    database: str | None = None,
    images: ImageSettings | None = None,
    **settings: Unpack[ServerSettings],
) -> None:
    """Serve the labelling page for a folder of images, until Ctrl-C is pressed.

    Args:
        folder: Folder of images, in which a project is created if necessary, or an open project.
        model: Model as for `anymask.load`. Defaults to the current model of the project.
        user: Name of the annotator, if the address of the page contains no name.
        stage: Stage of the project. Defaults to the last stage used.
        name: Name of a new project.
        labels: Classes of a new project.
        database: Address of the database of a new project, as for `create_project`.
        images: How images with several bands and pages are shown.
        settings: Fields of `ServerOptions`.

    Raises:
        StoreError: The database does not respond. `annotate` also raises the errors of `serve`.
    """
    server = ServerOptions(**settings)
    project = (
        folder if isinstance(folder, Project)
        else create_project(folder, name=name, labels=labels, database=database)
    )  # fmt: skip
    project.change(stage=stage)
    led = stated_model(server.weights) if server.weights else project.current_model()
    with _server_parts(server, server.model(model or led)) as parts:
        LOG.info("opened the project %s", project.folder)
        _listen(
            replace(parts, project=ServedProject(project, user, images or ImageSettings())), server
        )


@contextmanager
def _server_parts(server: ServerOptions, choice: ModelSettings) -> Iterator[ServerParts]:
    """Prepare the parts of a server; the first request loads the model."""
    from anymask.runtime import find_bundle

    with tempfile.TemporaryDirectory(prefix="anymask-serve-") as folder:
        choice = exported_choice(choice, Path(folder))
        check_model(choice)
        bundle = find_bundle(choice.model, choice.weights)
        if bundle is not None:  # import early; a later import would block all requests
            import_offline("onnxruntime")
            bundle = page_bundle(bundle, Path(folder) / "page")
        else:
            from anymask.runtime import import_torch

            import_torch()
        # Half of the cores per call, because prompts and new images are processed concurrently.
        os.environ[THREADS] = os.environ.get(THREADS) or str(max(1, pick_threads() // 2))
        reader: str | Path | Detector | None = server.detector
        if reader is not None:  # fail early if it is missing
            from anymask.find import open_detector

            reader = open_detector(reader, choice.device)
        cache = EmbeddingCache(int(server.memory * 1e6))
        yield ServerParts(
            Inference(choice.load, choice.model, cache, detector=reader),
            server.access, server.limits, bundle,
            named_videos(server.videos), named_videos(server.volumes, "scan"),
        )  # fmt: skip


def exported_choice(choice: ModelSettings, folder: Path) -> ModelSettings:
    """Export a model with another input size (NAME@SIDE) to a folder for the page.

    Other choices are returned unchanged. Raises InputError if the size is not supported.
    """
    from anymask.runtime import find_bundle, split_side
    from anymask.training import copy_bundle

    name, side = split_side(choice.model)
    bundle = None if side is None else find_bundle(name, choice.weights)
    if bundle is None:
        return choice
    target = folder / Path(choice.model).name
    copy_bundle(bundle, target, side)
    return replace(choice, model=str(target), weights=None)


def check_model(choice: ModelSettings) -> None:
    """Check that the model exists and is for RGB images, before the server listens.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask.runtime import find_model, named_weights, split_side, stated_channels

    name, weights = named_weights(split_side(choice.model)[0], choice.weights)
    if find_model(name, weights, choice.runtime) is None:
        from anymask.runtime import entry, find

        entry(name)
        find(name, weights)
    if (channels := stated_channels(choice.model, choice.weights)) is not None:
        raise InputError(
            f"Model {choice.model} was fine-tuned on images with {channels.count} channels, which "
            "the server does not support. Use `anymask segment` or `anymask everything`."
        )


def _listen(parts: ServerParts, server: ServerOptions) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises the error of loading the model."""
    bound = open_socket(server.host, server.port)
    address = address_of(bound)

    def ready() -> None:
        LOG.info("listening on %s", address)
        server.ready(address)

    with contextlib.suppress(KeyboardInterrupt), finish_job():  # Ctrl-C or SIGTERM
        run_server(create_app(parts), bound, ready, server.limits, parts.inference.model)
    LOG.info("stopped listening on %s", address)
