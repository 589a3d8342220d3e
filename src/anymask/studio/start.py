"""Start the server: `anymask.serve` with a model, `anymask.annotate` with a project."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from anymask.base import THREADS, InputError, check_types, import_offline, pick_threads
from anymask.cli import finish_job
from anymask.jobs import ModelChoice, PictureChoice
from anymask.models.rules import default_model
from anymask.studio.app import ServerParts, create_app
from anymask.studio.caches import EmbeddingCache
from anymask.studio.inference import Inference
from anymask.studio.limits import Limits
from anymask.studio.middleware import Access
from anymask.studio.options import Stage
from anymask.studio.pages import page_bundle
from anymask.studio.project import Project, create_project
from anymask.studio.project_routes import ServedProject
from anymask.studio.server import address_of, open_socket, run_server

if TYPE_CHECKING:
    from anymask.find import Detector

LOG = logging.getLogger("anymask.studio")
PORT = 8765


class ServerSettings(TypedDict, total=False):
    """Settings of `serve` and `annotate` besides the model.

    Attributes:
        weights: As for `anymask.load`.
        device: As for `anymask.load`.
        precision: As for `anymask.load`.
        runtime: As for `anymask.load`.
        host: Host to listen on (default "127.0.0.1"). Other than local hosts require a token.
        port: Port (default 8765). 0: a free one.
        token: Required token of requests, at least 8 characters. Default: none.
        origins: Allowed origins of other web pages: ["https://tool.example"]; ["*"] with a token.
        frames: Origins of web pages that may embed the page in a frame.
        memory: Size of the embedding cache in megabytes (default 512).
        videos: Video files and folders of frames that the page offers.
        volumes: Scans that the page offers.
        limits: Limits of requests.
        detector: Detector for text prompts, as for `Model.find`. None: known names of the model.
        ready: Called with the URL when the server listens.
    """

    weights: str | Path | None
    device: str
    precision: str
    runtime: str
    host: str
    port: int
    token: str
    origins: Sequence[str]
    frames: Sequence[str]
    memory: float
    videos: Sequence[str | Path]
    volumes: Sequence[str | Path]
    limits: Limits
    detector: str | Path | None
    ready: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class _Server:
    """Server settings with defaults. Raises InputError if they are invalid."""

    weights: str | Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    runtime: str = "auto"
    host: str = "127.0.0.1"
    port: int = PORT
    token: str = field(default="", repr=False)
    origins: Sequence[str] = ()
    frames: Sequence[str] = ()
    memory: float = 512
    videos: Sequence[str | Path] = ()
    volumes: Sequence[str | Path] = ()
    limits: Limits = field(default_factory=Limits)
    detector: str | Path | None = None
    ready: Callable[[str], None] = lambda address: None

    def __post_init__(self) -> None:
        if self.memory < 0:
            raise InputError(
                f"The cache size must be at least 0 megabytes. Given: {self.memory:g}."
            )
        self.access  # noqa: B018  # validates the combination of settings
        named_videos(self.videos)
        named_videos(self.volumes, "scan")

    @property
    def access(self) -> Access:
        """Access control."""
        return Access(self.host, self.token, tuple(self.origins), tuple(self.frames))

    def model(self, name: str | Path) -> ModelChoice:
        """Model, weights and device."""
        weights = None if self.weights is None else Path(self.weights).expanduser().absolute()
        return ModelChoice(str(name), weights, self.device, self.precision, self.runtime)


def check_server(**settings: Unpack[ServerSettings]) -> None:
    """Validate server settings. Raises InputError."""
    _Server(**settings)


@check_types
def serve(
    model: str | Path | None = None,
    *,
    label_studio: str = "",
    label_studio_key: str = "",
    photos: str | Path | None = None,
    **settings: Unpack[ServerSettings],
) -> None:
    """Run the HTTP server with the annotation page, until Ctrl-C is pressed.

    Args:
        model: Model as for `anymask.load`.
        label_studio: URL of a Label Studio for which this server is a machine learning backend.
        label_studio_key: API key of this Label Studio.
        photos: Folder with the images of Label Studio, to read them instead of downloading them.
        settings: Fields of `ServerSettings`.

    Raises:
        InputError: The address is not available, or the settings cannot be combined.
        ModelError, WeightsError: The model cannot be loaded.
    """
    server = _Server(**settings)
    if photos is not None and not Path(photos).is_dir():
        raise InputError(f"{photos} is not a folder of images. Pass a folder.")
    pictures = None
    if label_studio or photos is not None:
        from anymask.integrations import TaskPictures

        folder = None if photos is None else Path(photos)
        pictures = TaskPictures(folder, label_studio, label_studio_key)
    with _opened(server, server.model(model or default_model(server.weights))) as parts:
        _listen(replace(parts, label_studio=pictures), server)


@check_types
def annotate(
    folder: str | Path | Project,
    model: str | Path | None = None,
    *,
    user: str = "annotator",
    stage: Stage | None = None,
    name: str | None = None,
    labels: Sequence[str] = (),
    database: str | None = None,
    pictures: PictureChoice | None = None,
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
        pictures: How images with several bands and pages are shown.
        settings: Fields of `ServerSettings`.

    Raises:
        StoreError: The database does not respond. `annotate` also raises the errors of `serve`.
    """
    server = _Server(**settings)
    project = folder
    if not isinstance(project, Project):
        project = create_project(project, name=name, labels=labels, database=database)
    project.change(stage=stage)
    led = default_model(server.weights) if server.weights else project.lead()
    chosen = server.model(model or led)
    with _opened(server, chosen) as parts:
        LOG.info("opened the project %s", project.folder)
        served = ServedProject(project, user, pictures or PictureChoice())
        _listen(replace(parts, project=served), server)


@contextmanager
def _opened(server: _Server, choice: ModelChoice) -> Iterator[ServerParts]:
    """Components of a server for a model that is not loaded yet."""
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
        inference = Inference(choice.load, choice.model, cache, detector=reader)
        clips = named_videos(server.videos)
        scans = named_videos(server.volumes, "scan")
        yield ServerParts(inference, server.access, server.limits, bundle, clips, scans)


def named_videos(paths: Sequence[str | Path], what: str = "video") -> dict[str, Path]:
    """Videos or scans by name. Raises InputError if one is missing, or two have the same name."""
    clips: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"The {what} {path} does not exist. Check the path.")
        name = path.resolve().name
        if name in clips:
            raise InputError(
                f"The files {clips[name]} and {path} have the same name. Rename one of them."
            )
        clips[name] = path.resolve()
    return clips


def exported_choice(choice: ModelChoice, folder: Path) -> ModelChoice:
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


def check_model(choice: ModelChoice) -> None:
    """Check that the model exists and is for RGB images, before the server listens.

    Raises InputError, ModelError, WeightsError.
    """
    from anymask.runtime import find_model, named_weights, split_side, stated_channels

    name, weights = named_weights(split_side(choice.model)[0], choice.weights)
    if find_model(name, weights, choice.runtime) is None:
        from anymask.runtime import entry, find

        entry(name)
        find(name, weights)
    channels = stated_channels(choice.model, choice.weights)
    if channels is not None:
        raise InputError(
            f"Model {choice.model} was fine-tuned on images with {channels.count} "
            "channels, which the server and the page do not support. Use `anymask "
            "segment` or `anymask everything`."
        )


def _listen(parts: ServerParts, server: _Server) -> None:
    """Serve until Ctrl-C or SIGTERM. Raises the error of loading the model."""
    bound = open_socket(server.host, server.port)
    address = address_of(bound)

    def ready() -> None:
        LOG.info("listening on %s", address)
        server.ready(address)

    with contextlib.suppress(KeyboardInterrupt), finish_job():  # Ctrl-C or SIGTERM
        run_server(create_app(parts), bound, ready, server.limits, parts.inference.model)
    LOG.info("stopped listening on %s", address)
