"""Options of a server, for `anymask.serve`, `anymask.annotate` and the command line.

This module imports no optional dependency, so that `--help` works without `anymask[studio]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from anymask.base import InputError, Setting, check_settings, refuse_text
from anymask.jobs import ModelSettings
from anymask.studio.limits import Limits

if TYPE_CHECKING:
    from anymask.studio.middleware import Access

TOKEN = "ANYMASK_TOKEN"


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of a server. Raises InputError if they are invalid."""

    # As for `anymask.load`
    weights: str | Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    runtime: str = "auto"
    host: Annotated[
        str, Setting("host to listen on", metavar="HOST", default="127.0.0.1, this machine only")
    ] = "127.0.0.1"
    port: Annotated[int, Setting("port to listen on; 0 selects a free one", metavar="PORT")] = 8765
    token: Annotated[
        str,
        Setting(
            f"access token for all requests (default: ${TOKEN}); required if --host makes the "
            "server reachable from other machines", metavar="SECRET", default=None,
        ),
    ] = field(default="", repr=False)  # fmt: skip
    origins: Annotated[
        Sequence[str],
        Setting(
            "origin of another web page that may send requests (CORS), such as "
            "https://tool.example; repeatable. '*' allows any origin and requires a token",
            option="--allow-origin", metavar="URL", repeat=True, default=None,
        ),
    ] = ()  # fmt: skip
    frames: Annotated[
        Sequence[str],
        Setting(
            "origin of another web page that may embed this page in a frame; repeatable",
            option="--allow-frame", metavar="URL", repeat=True, default=None,
        ),
    ] = ()  # fmt: skip
    videos: Annotated[
        Sequence[str | Path],
        Setting("video file or folder of frames to offer on the page; repeatable",
                option="--video", metavar="PATH", repeat=True, default=None),
    ] = ()  # fmt: skip
    volumes: Annotated[
        Sequence[str | Path],
        Setting("scan to offer on the page (NIfTI, NRRD or a folder of DICOM); repeatable",
                option="--volume", metavar="PATH", repeat=True, default=None),
    ] = ()  # fmt: skip
    detector: Annotated[
        str | Path | None,
        Setting("detector for text prompts, as in `anymask find`", metavar="NAME|FOLDER",
                parse=str, default="none; only the known names of the model"),
    ] = None  # fmt: skip
    memory: Annotated[
        float,
        Setting("size of the image embedding cache in megabytes", unit="megabytes", metavar="N"),
    ] = 512
    limits: Limits = field(default_factory=Limits)  # Limits of requests
    ready: Callable[[str], None] = lambda address: None  # Called with the URL when it listens

    def __post_init__(self) -> None:
        check_settings(self)
        lists = ("origins", "frames", "videos", "volumes")
        refuse_text("a list", **{name: getattr(self, name) for name in lists})
        self.access  # noqa: B018  # validates the combination of settings
        named_videos(self.videos)
        named_videos(self.volumes, "scan")

    @property
    def access(self) -> Access:
        """Access control."""
        from anymask.studio.middleware import Access

        return Access(self.host, self.token, tuple(self.origins), tuple(self.frames))

    def model(self, name: str | Path) -> ModelSettings:
        """Model, weights and device."""
        weights = None if self.weights is None else Path(self.weights).expanduser().absolute()
        return ModelSettings(str(name), weights, self.device, self.precision, self.runtime)


def named_videos(paths: Sequence[str | Path], what: str = "video") -> dict[str, Path]:
    """Videos or scans by name. Raises InputError if one is missing, or two have the same name."""
    clips: dict[str, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"The {what} {path} does not exist. Check the path.")
        name = path.resolve().name
        if name in clips:
            raise InputError(f"{clips[name]} and {path} have the same name. Rename one of them.")
        clips[name] = path.resolve()
    return clips
