"""Labelling: projects, review and rounds, the server and its page, CVAT, Label Studio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anymask.base import lazy_names

if TYPE_CHECKING:
    from anymask.studio.app import ServerParts, create_app
    from anymask.studio.cache import EmbeddingCache, key_of, size_of
    from anymask.studio.commands.serve import add_server_options, read_server
    from anymask.studio.cvat import (
        SHAPES,
        CvatFrame,
        CvatModel,
        Tracked,
        mask_to_shape,
        shape_to_mask,
    )
    from anymask.studio.database import create_tables, is_prepared, open_database, reading, writing
    from anymask.studio.entries import (
        Action,
        Arm,
        Draft,
        ImageEntry,
        ImageStatus,
        Provenance,
        Stage,
        StoredMask,
        Verdict,
        one_of,
    )
    from anymask.studio.exchange import TakenMasks, photo_name, take_masks
    from anymask.studio.export_settings import OF_PAGE, ExportSettings, read_split
    from anymask.studio.exports import (
        accept_rest,
        check_rule,
        export_archive,
        export_masks,
        masks_file,
        split_names,
    )
    from anymask.studio.figures import measure, plan, summary, to_markdown
    from anymask.studio.guard import HEADERS, Access, is_loopback
    from anymask.studio.inference import PHOTO_THREADS, Inference
    from anymask.studio.label_routes import labelled_masks
    from anymask.studio.label_studio import TaskPictures, label_studio_router
    from anymask.studio.labels import LabelSet, nth_colour
    from anymask.studio.limits import SLOWEST, Limits
    from anymask.studio.model_api import A_LOOK, check_cost, cost_of, done, gives_up
    from anymask.studio.notes import MaskNotes
    from anymask.studio.own_names import MOST, LabelledMask, OwnNames
    from anymask.studio.pages import Asset, model_assets, page_assets, write_static
    from anymask.studio.photo_files import (
        SEEN,
        FolderNews,
        checked_picture,
        look_into_folder,
        photo_file,
    )
    from anymask.studio.picture_routes import PictureLook
    from anymask.studio.project import FOLDER, Project, create_project
    from anymask.studio.project_api import project_router
    from anymask.studio.project_options import figures_to_html
    from anymask.studio.refusals import Refusal
    from anymask.studio.retraining import RoundStart, Tuning, recipe_of, start_of, trainer
    from anymask.studio.review import (
        ReviewItem,
        agreements,
        all_verdicts,
        asked_about,
        batch_states,
        give_verdict,
        next_asked,
        take_back_verdict,
        wilson,
    )
    from anymask.studio.rounds import (
        LEAST_HELD,
        WEIGHTS,
        Trained,
        begin_round,
        is_held_out,
        last_weights,
        link_photos,
        paired_gain,
        retrain,
    )
    from anymask.studio.run import PendingConnections, Server, address_of, open_socket
    from anymask.studio.runs import Work, run_stage
    from anymask.studio.settings_schema import EVERYTHING, SEGMENT, TRACK
    from anymask.studio.stages import HINT_SECONDS, STAGES, ProjectSettings, propose
    from anymask.studio.start import (
        LOGGERS,
        annotate,
        check_model,
        exported_choice,
        log_to_stderr,
        named_videos,
        serve,
    )
    from anymask.studio.store import Store
    from anymask.studio.tables import (
        EventRow,
        LabelRow,
        RecordRow,
        TrackMaskRow,
        WeightsRow,
        draw_of,
    )
    from anymask.studio.track_entries import (
        TrackDraft,
        TrackEntry,
        TrackMask,
        TrackRenaming,
        TrackSaid,
    )
    from anymask.studio.tracks import Tracks
    from anymask.studio.turns import BACKGROUND, ModelQueue, QueueClosed, RequestAbandoned, Urgency
    from anymask.studio.video_sessions import (
        LOCK,
        PREFIX,
        VideoFiles,
        VideoSessions,
        delete_abandoned,
        write_stream,
    )
    from anymask.studio.wire import SegmentBody

__all__ = [
    "A_LOOK",
    "BACKGROUND",
    "EVERYTHING",
    "FOLDER",
    "HEADERS",
    "HINT_SECONDS",
    "LEAST_HELD",
    "LOCK",
    "LOGGERS",
    "MOST",
    "OF_PAGE",
    "PHOTO_THREADS",
    "PREFIX",
    "SEEN",
    "SEGMENT",
    "SHAPES",
    "SLOWEST",
    "STAGES",
    "TRACK",
    "WEIGHTS",
    "Access",
    "Action",
    "Arm",
    "Asset",
    "CvatFrame",
    "CvatModel",
    "Draft",
    "EmbeddingCache",
    "EventRow",
    "ExportSettings",
    "FolderNews",
    "ImageEntry",
    "ImageStatus",
    "Inference",
    "LabelRow",
    "LabelSet",
    "LabelledMask",
    "Limits",
    "MaskNotes",
    "ModelQueue",
    "OwnNames",
    "PendingConnections",
    "PictureLook",
    "Project",
    "ProjectSettings",
    "Provenance",
    "QueueClosed",
    "RecordRow",
    "Refusal",
    "RequestAbandoned",
    "ReviewItem",
    "RoundStart",
    "SegmentBody",
    "Server",
    "ServerParts",
    "Stage",
    "Store",
    "StoredMask",
    "TakenMasks",
    "TaskPictures",
    "TrackDraft",
    "TrackEntry",
    "TrackMask",
    "TrackMaskRow",
    "TrackRenaming",
    "TrackSaid",
    "Tracked",
    "Tracks",
    "Trained",
    "Tuning",
    "Urgency",
    "Verdict",
    "VideoFiles",
    "VideoSessions",
    "WeightsRow",
    "Work",
    "accept_rest",
    "add_server_options",
    "address_of",
    "agreements",
    "all_verdicts",
    "annotate",
    "asked_about",
    "batch_states",
    "begin_round",
    "check_cost",
    "check_model",
    "check_rule",
    "checked_picture",
    "cost_of",
    "create_app",
    "create_project",
    "create_tables",
    "delete_abandoned",
    "done",
    "draw_of",
    "export_archive",
    "export_masks",
    "exported_choice",
    "figures_to_html",
    "give_verdict",
    "gives_up",
    "is_held_out",
    "is_loopback",
    "is_prepared",
    "key_of",
    "label_studio_router",
    "labelled_masks",
    "last_weights",
    "link_photos",
    "log_to_stderr",
    "look_into_folder",
    "mask_to_shape",
    "masks_file",
    "measure",
    "model_assets",
    "named_videos",
    "next_asked",
    "nth_colour",
    "one_of",
    "open_database",
    "open_socket",
    "page_assets",
    "paired_gain",
    "photo_file",
    "photo_name",
    "plan",
    "project_router",
    "propose",
    "read_server",
    "read_split",
    "reading",
    "recipe_of",
    "retrain",
    "run_stage",
    "serve",
    "shape_to_mask",
    "size_of",
    "split_names",
    "start_of",
    "summary",
    "take_back_verdict",
    "take_masks",
    "to_markdown",
    "trainer",
    "wilson",
    "write_static",
    "write_stream",
    "writing",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "app": (
                "ServerParts",
                "create_app",
            ),
            "cache": (
                "EmbeddingCache",
                "key_of",
                "size_of",
            ),
            "commands.serve": (
                "add_server_options",
                "read_server",
            ),
            "cvat": (
                "CvatFrame",
                "CvatModel",
                "SHAPES",
                "Tracked",
                "mask_to_shape",
                "shape_to_mask",
            ),
            "database": (
                "create_tables",
                "is_prepared",
                "open_database",
                "reading",
                "writing",
            ),
            "entries": (
                "Action",
                "Arm",
                "Draft",
                "ImageEntry",
                "ImageStatus",
                "Provenance",
                "Stage",
                "StoredMask",
                "Verdict",
                "one_of",
            ),
            "exchange": (
                "TakenMasks",
                "photo_name",
                "take_masks",
            ),
            "export_settings": (
                "ExportSettings",
                "OF_PAGE",
                "read_split",
            ),
            "exports": (
                "accept_rest",
                "check_rule",
                "export_archive",
                "export_masks",
                "masks_file",
                "split_names",
            ),
            "figures": (
                "measure",
                "plan",
                "summary",
                "to_markdown",
            ),
            "guard": (
                "Access",
                "HEADERS",
                "is_loopback",
            ),
            "inference": (
                "Inference",
                "PHOTO_THREADS",
            ),
            "label_routes": ("labelled_masks",),
            "label_studio": (
                "TaskPictures",
                "label_studio_router",
            ),
            "labels": (
                "LabelSet",
                "nth_colour",
            ),
            "limits": (
                "Limits",
                "SLOWEST",
            ),
            "model_api": (
                "A_LOOK",
                "check_cost",
                "cost_of",
                "done",
                "gives_up",
            ),
            "notes": ("MaskNotes",),
            "own_names": (
                "LabelledMask",
                "MOST",
                "OwnNames",
            ),
            "pages": (
                "Asset",
                "model_assets",
                "page_assets",
                "write_static",
            ),
            "photo_files": (
                "FolderNews",
                "SEEN",
                "checked_picture",
                "look_into_folder",
                "photo_file",
            ),
            "picture_routes": ("PictureLook",),
            "project": (
                "FOLDER",
                "Project",
                "create_project",
            ),
            "project_api": ("project_router",),
            "project_options": ("figures_to_html",),
            "refusals": ("Refusal",),
            "retraining": (
                "RoundStart",
                "Tuning",
                "recipe_of",
                "start_of",
                "trainer",
            ),
            "review": (
                "ReviewItem",
                "agreements",
                "all_verdicts",
                "asked_about",
                "batch_states",
                "give_verdict",
                "next_asked",
                "take_back_verdict",
                "wilson",
            ),
            "rounds": (
                "LEAST_HELD",
                "Trained",
                "WEIGHTS",
                "begin_round",
                "is_held_out",
                "last_weights",
                "link_photos",
                "paired_gain",
                "retrain",
            ),
            "run": (
                "PendingConnections",
                "Server",
                "address_of",
                "open_socket",
            ),
            "runs": (
                "Work",
                "run_stage",
            ),
            "settings_schema": (
                "EVERYTHING",
                "SEGMENT",
                "TRACK",
            ),
            "stages": (
                "HINT_SECONDS",
                "ProjectSettings",
                "STAGES",
                "propose",
            ),
            "start": (
                "LOGGERS",
                "annotate",
                "check_model",
                "exported_choice",
                "log_to_stderr",
                "named_videos",
                "serve",
            ),
            "store": ("Store",),
            "tables": (
                "EventRow",
                "LabelRow",
                "RecordRow",
                "TrackMaskRow",
                "WeightsRow",
                "draw_of",
            ),
            "track_entries": (
                "TrackDraft",
                "TrackEntry",
                "TrackMask",
                "TrackRenaming",
                "TrackSaid",
            ),
            "tracks": ("Tracks",),
            "turns": (
                "BACKGROUND",
                "ModelQueue",
                "QueueClosed",
                "RequestAbandoned",
                "Urgency",
            ),
            "video_sessions": (
                "LOCK",
                "PREFIX",
                "VideoFiles",
                "VideoSessions",
                "delete_abandoned",
                "write_stream",
            ),
            "wire": ("SegmentBody",),
        },
    )
