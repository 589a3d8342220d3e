"""Table of commands: name, module and one-line summary of each.

Modules are stored as text, so that `anymask --help` imports none of them and the command line does
not depend on applications. Plug-ins add commands with entry points in the group
`anymask.commands`, which are loaded when they are called.
"""

from __future__ import annotations

SUMMARIES: dict[str, str] = {
    "sample": "write a sample image",
    "segment": "segment objects from point, box or mask prompts",
    "everything": "segment every object in an image (automatic mask generation)",
    "find": "segment every object that matches a text or exemplar prompt",
    "cutout": "cut out the main subject of images and videos",
    "edges": "detect the edges of an image",
    "redact": "hide faces, number plates or other objects in images and videos",
    "boxes": "convert a detection dataset to instance masks",
    "track": "track objects through a video and write their masks",
    "volume": "segment objects in a 3-D scan (CT, MR, stacks) and write label volumes",
    "change": "detect changes between two maps",
    "encode": "compute and cache image embeddings",
    "names": "learn custom class names from labeled masks, or list the known names",
    "convert": "convert annotations between formats",
    "models": "list, download, convert, verify and remove model weights",
    "train": "train a model from a config file",
    "finetune": "fine-tune a model on annotated images and measure the gain",
    "distill": "train a small model to reproduce the masks of a larger one",
    "export": "export a model to ONNX",
    "evaluate": "evaluate models on annotated images or videos, or score result files",
    "audit": "find annotation errors in a dataset",
    "stats": "describe a dataset: counts, sizes, positions and shapes of its masks",
    "bench": "measure speed and memory on this machine",
    "serve": "run an HTTP server with a page for the browser",
    "annotate": "label a folder of images in the browser",
    "project": "manage a labeling project: import, run, review, report, export, retrain",
}
COMMANDS: dict[str, str] = {name: f"anymask.cli.{name}" for name in SUMMARIES}


def commands() -> dict[str, str]:
    """Return the module of every command: those of installed plug-ins, then the built-in ones."""
    from anymask.base import installed_plugins  # not loaded by a built-in command

    return {name: entry.value for name, entry in installed_plugins("commands").items()} | COMMANDS


def plugin_summaries() -> dict[str, str]:
    """Return the summary of every command of installed plug-ins, without importing them."""
    from anymask.base import PLUGINS, installed_plugins

    known = {name: text for plugin in PLUGINS.values() for name, text in plugin.commands.items()}
    return {
        name: known.get(name) or f"command of the plug-in {entry.dist.name if entry.dist else '?'}"
        for name, entry in installed_plugins("commands").items()
        if name not in COMMANDS
    }
