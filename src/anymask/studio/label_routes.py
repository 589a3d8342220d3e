"""A project's labels: routes that list, add, change and delete them, and masks that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query

from anymask.studio.answers import LabelsAnswer
from anymask.studio.bodies import LabelBody, LabelFateBody
from anymask.studio.own_names import Examples, LabelledMask
from anymask.studio.picture_routes import AskedPlane, PictureLook
from anymask.studio.project import Project

User = Annotated[str | None, Query(max_length=400)]
Who = Annotated[User, Query(alias="user")]


def add_labels(router: APIRouter, project: Project, user: str) -> None:
    """Add them to a project's router; `user` works where a request does not say."""
    labels = project.labels

    def listed() -> dict[str, Any]:
        return {"labels": [asdict(label) for label in labels.all()]}

    @router.get("/labels", response_model=LabelsAnswer)
    def names() -> dict[str, Any]:
        """The names of masks in their order, with colours and counts."""
        return listed()

    @router.post("/labels", response_model=LabelsAnswer)
    def add(body: LabelBody) -> dict[str, Any]:
        """Add a name; nothing where it is there."""
        labels.add(body.name, body.colour)
        return listed()

    @router.put("/labels", response_model=LabelsAnswer)
    def change(body: LabelBody, user_name: Who = None) -> dict[str, Any]:
        """Another colour, place or name; the masks of a renamed one are renamed."""
        if body.colour is not None:
            labels.recolour(body.name, body.colour)
        if body.place is not None:
            labels.move(body.name, body.place)
        if body.to is not None:
            labels.rename(body.name, body.to, user_name or user)
        return listed()

    @router.delete("/labels", response_model=LabelsAnswer)
    def delete(body: LabelFateBody, user_name: Who = None) -> dict[str, Any]:
        """Delete a name; its masks become nameless, or go too."""
        labels.delete(body.name, body.masks, user_name or user)
        return listed()


def labelled_masks(project: Project, looks: PictureLook) -> Examples:
    """The masks that explain a project's labels, with their photos as they are shown."""

    def examples(label: str, most: int) -> Sequence[LabelledMask]:
        return [
            LabelledMask(
                key=f"{entry.id} {entry.version}",
                on=f"{entry.image_id} {entry.page}",
                photo=partial(looks.load, project, entry.image_id, AskedPlane(entry.page)),
                rle=entry.rle,
            )
            for entry in project.store.labelled(label, most)
        ]

    return examples
