"""Plug-ins: distributions that add commands, formats, model families and more.

A plug-in declares entry points in the groups `anymask.commands`, `.formats`, `.layouts`,
`.families`, `.trackers` and `.routes`. They are read only for help texts and lists, for names that
are not built in, and when a server starts. `PLUGINS` lists the plug-ins of this repository, so that
a name without its plug-in is answered with the command that installs it. The environment variable
ANYMASK_DISABLE_PLUGINS=1 ignores all entry points.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from anymask.base.errors import AnymaskError, ConfigError, MissingPlugin
from anymask.base.lazy import missing_extra

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in of this repository."""

    commands: Mapping[str, str] = field(default_factory=dict)  # Summaries of its commands by name
    # Names of everything else that it adds, by group
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def provides(self, group: str, name: str) -> bool:
        """Return whether it adds this name to a group."""
        return name in (self.commands if group == "commands" else self.names.get(group, ()))


PLUGINS: dict[str, Plugin] = {
    "anymask-connect": Plugin(
        commands={
            "label-studio": "run a machine learning backend of Label Studio",
            "mcp": "run an MCP server",
        },
    ),
    "anymask-families": Plugin(
        names={
            "families": ("semantic_sam_swint", "semantic_sam", "sam_med3d_b", "xmem", "samed"),
            "trackers": ("xmem",),
        },
    ),
    "anymask-formats": Plugin(
        names={
            "formats": (
                "v7", "darwin", "v7-darwin", "encord", "supervisely", "sly", "cellpose", "via",
                "vgg", "vgg-image-annotator",
            ),
            "layouts": ("hqseg",),
        },
    ),
    "anymask-inpaint": Plugin(
        commands={"edit": "remove, blur or replace objects in an image"},
    ),
    "anymask-points": Plugin(
        commands={
            "points": "segment objects in a point cloud from points in 3D",
            "lift": "convert masks to 3-D points of objects, with depth and cameras",
        },
    ),
}  # fmt: skip


def installed_plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, without importing them."""
    disabled = os.environ.get("ANYMASK_DISABLE_PLUGINS")
    return {} if disabled else _entry_points(group, tuple(sys.path))


@cache
def _entry_points(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Read the metadata of all distributions on the path, once, since it takes about 50 ms."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=f"anymask.{group}")}


def load_plugin(group: str, name: str) -> Any:
    """Import what a plug-in adds under a name, of a command its record; None if it is unknown.

    Raises:
        MissingPlugin: The plug-in that adds it is not installed.
        ConfigError: It cannot be imported.
    """
    if (entry := installed_plugins(group).get(name)) is not None:
        try:
            return entry.load().COMMAND if group == "commands" else entry.load()
        except AnymaskError:
            raise
        except Exception as error:  # the code of another package can raise anything
            if isinstance(error, ImportError) and missing_extra(error, repr(name)) is not None:
                raise
            raise ConfigError(
                f"The {_called(group, name)} of the plug-in {entry.value} cannot be loaded "
                f"({str(error)[:200]}). Update or uninstall the package that provides it."
            ) from error
    if owner := next(
        (key for key, plugin in PLUGINS.items() if plugin.provides(group, name)), None
    ):
        raise MissingPlugin(owner, _called(group, name))
    return None


def _called(group: str, name: str) -> str:
    return f"{'model' if group == 'families' else group.removesuffix('s')} {name!r}"
