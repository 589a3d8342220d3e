"""What has become of a project's photos on the disk: files in; what is new, gone, replaced out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from anymask.data.documents import picture_hw
from anymask.engine.project import Project
from anymask.primitives.errors import Conflict


@dataclass(frozen=True)
class FolderNews:
    """What a look into the folder found.

    added       photos that were taken up
    gone        numbers of photos whose files are not there; their masks stay
    unreadable  names of pictures that were passed over, each with the reason
    """

    added: int
    gone: list[int]
    unreadable: dict[str, str] = field(default_factory=dict)


def look_into_folder(project: Project) -> FolderNews:
    """Take up the folder's new photos, and find those that are gone. Raises StoreError."""
    unreadable: dict[str, str] = {}
    added = project.add_folder(unreadable.__setitem__)
    names = set(project.photo_names())
    gone = [image.id for image in project.store.all_images() if image.name not in names]
    return FolderNews(added, gone, unreadable)


def checked_picture(project: Project, image_id: int) -> Path:
    """The file of a photo, which has the size that is known of it.

    Another size is taken over where the photo never had a mask. Raises NotFoundError, DataError;
    Conflict where masks were drawn on what was there before.
    """
    image, path = project.store.image(image_id), project.picture(image_id)
    hw = picture_hw(path)
    if hw != image.hw and not project.store.resize_image(image_id, hw):
        known, found = (f"{width} x {height} pixels" for height, width in (image.hw, hw))
        raise Conflict(
            f"wanted {image.name} with {known}, on which its masks were drawn, got {found}: the "
            "file was replaced; put the earlier one back, or give the new one another name"
        )
    return path
