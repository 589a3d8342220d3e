"""What every room needs: errors, whole-file storage, settings, progress, threads, safe parsing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anymask.base.arrays import (
        BoolArray,
        FloatArray,
        Floats,
        IntArray,
        UintImage,
        check_members,
        read_array,
        read_arrays,
    )
    from anymask.base.errors import (
        AnymaskError,
        ConfigError,
        Conflict,
        DataError,
        DiskFull,
        ImageError,
        InputError,
        MissingExtra,
        ModelError,
        NotAllowedError,
        NotFoundError,
        PromptError,
        StoreError,
        WeightsError,
        exit_text,
    )
    from anymask.base.machine import (
        Machine,
        Measurement,
        ProcessRun,
        TimedCall,
        Timing,
        run_process,
        this_machine,
        time_in_turns,
    )
    from anymask.base.parsing import MAX_DEPTH, json_depth, parse_json, parse_text, parse_toml
    from anymask.base.progress import (
        Progress,
        ProgressBar,
        Told,
        clock_text,
        follow,
        pick_teller,
        tell_each,
    )
    from anymask.base.settings import (
        OTHER_WORDS,
        TAKERS,
        DeclaredSetting,
        Setting,
        check_keywords,
        check_settings,
        describe_settings,
        list_settings,
        name_all_keywords,
        name_keywords,
        our_word,
    )
    from anymask.base.storage import (
        ON_WINDOWS,
        exclusive,
        file_suffix,
        is_folder,
        json_bytes,
        lock_file,
        make_room,
        near_suffix,
        page_name,
        split_page_name,
        whole_file,
        write_json,
        write_whole,
    )
    from anymask.base.threads import (
        THREADS,
        limit_threads,
        pick_threads,
        thread_setting,
        threads_each,
        usable_cores,
    )


__all__ = [
    "MAX_DEPTH",
    "ON_WINDOWS",
    "OTHER_WORDS",
    "TAKERS",
    "THREADS",
    "AnymaskError",
    "BoolArray",
    "ConfigError",
    "Conflict",
    "DataError",
    "DeclaredSetting",
    "DiskFull",
    "FloatArray",
    "Floats",
    "ImageError",
    "InputError",
    "IntArray",
    "Machine",
    "Measurement",
    "MissingExtra",
    "ModelError",
    "NotAllowedError",
    "NotFoundError",
    "ProcessRun",
    "Progress",
    "ProgressBar",
    "PromptError",
    "Setting",
    "StoreError",
    "TimedCall",
    "Timing",
    "Told",
    "UintImage",
    "WeightsError",
    "check_keywords",
    "check_members",
    "check_settings",
    "clock_text",
    "describe_settings",
    "exclusive",
    "exit_text",
    "file_suffix",
    "follow",
    "is_folder",
    "json_bytes",
    "json_depth",
    "lazy_names",
    "limit_threads",
    "list_settings",
    "lock_file",
    "make_room",
    "name_all_keywords",
    "name_keywords",
    "near_suffix",
    "our_word",
    "page_name",
    "parse_json",
    "parse_text",
    "parse_toml",
    "pick_teller",
    "pick_threads",
    "read_array",
    "read_arrays",
    "run_process",
    "split_page_name",
    "tell_each",
    "this_machine",
    "thread_setting",
    "threads_each",
    "time_in_turns",
    "usable_cores",
    "whole_file",
    "write_json",
    "write_whole",
]


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a room, whose names are imported when they are first used.

    package  the room's `__name__`
    homes    module below the room -> public names that it holds
    """
    where = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in where:
            text = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=sys.modules[package])
        value = getattr(importlib.import_module(f"{package}.{where[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(where)


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "arrays": (
                "BoolArray",
                "FloatArray",
                "Floats",
                "IntArray",
                "UintImage",
                "check_members",
                "read_array",
                "read_arrays",
            ),
            "errors": (
                "AnymaskError",
                "ConfigError",
                "Conflict",
                "DataError",
                "DiskFull",
                "ImageError",
                "InputError",
                "MissingExtra",
                "ModelError",
                "NotAllowedError",
                "NotFoundError",
                "PromptError",
                "StoreError",
                "WeightsError",
                "exit_text",
            ),
            "machine": (
                "Machine",
                "Measurement",
                "ProcessRun",
                "TimedCall",
                "Timing",
                "run_process",
                "this_machine",
                "time_in_turns",
            ),
            "parsing": (
                "MAX_DEPTH",
                "json_depth",
                "parse_json",
                "parse_text",
                "parse_toml",
            ),
            "progress": (
                "Progress",
                "ProgressBar",
                "Told",
                "clock_text",
                "follow",
                "pick_teller",
                "tell_each",
            ),
            "settings": (
                "DeclaredSetting",
                "OTHER_WORDS",
                "Setting",
                "TAKERS",
                "check_keywords",
                "check_settings",
                "describe_settings",
                "list_settings",
                "name_all_keywords",
                "name_keywords",
                "our_word",
            ),
            "storage": (
                "ON_WINDOWS",
                "exclusive",
                "file_suffix",
                "is_folder",
                "json_bytes",
                "lock_file",
                "make_room",
                "near_suffix",
                "page_name",
                "split_page_name",
                "whole_file",
                "write_json",
                "write_whole",
            ),
            "threads": (
                "THREADS",
                "limit_threads",
                "pick_threads",
                "thread_setting",
                "threads_each",
                "usable_cores",
            ),
        },
    )
