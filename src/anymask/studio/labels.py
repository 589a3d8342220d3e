"""Class list of a project: names with colors and an order.

A class is added as soon as a mask uses it, so the list always contains every class in use. Its
color is the first one of a fixed sequence that no other class has.
"""

from __future__ import annotations

import colorsys
import re
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from anymask.base import InputError, NotFoundError
from anymask.studio.database import DatabasePart, reading, writing
from anymask.studio.records import Action, checked_text
from anymask.studio.tables import EventRow, LabelRow, RecordRow, event_row, remember

RENAMED = "label renamed"  # event kind
# Each color has the maximum CIE Lab distance to the previous ones.
ROW = (
    "#3d8bff", "#0afa0a", "#fa0a0a", "#0aebdc", "#facd0a", "#fa0aaf", "#468219", "#af6437",
    "#a037fa", "#faaffa", "#28fa91", "#dc2855", "#afeb37", "#fa820a", "#ebdc82", "#a055cd",
    "#a0eba0", "#be5582", "#0aaffa", "#82730a", "#0aaf0a", "#0a9164", "#fa0aeb", "#fa6446",
)  # fmt: skip
Fate = Literal["unname", "delete"]


@dataclass(frozen=True)
class Label:
    """A class, its color as #rrggbb, and the number of its masks."""

    name: str
    color: str
    masks: int


def nth_color(number: int) -> str:
    """Color of the nth class, the same as in the page (canvas/colours.ts)."""
    if number < len(ROW):
        return ROW[number]
    # Steps of the hue by the golden angle
    channels = colorsys.hls_to_rgb((number * 137.508 % 360) / 360, 0.6, 0.82)
    return "#" + "".join(f"{int(255 * channel + 0.5):02x}" for channel in channels)


def learn_label(session: Session, name: str | None, color: str | None = None) -> None:
    """Append a class if it does not exist."""
    if name is None or session.get(LabelRow, name) is not None:
        return
    rows = list(session.scalars(select(LabelRow)))
    position = 1 + max((row.place for row in rows), default=-1)
    taken = {row.color for row in rows}
    free = (color for color in map(nth_color, range(len(taken) + 1)) if color not in taken)
    session.add(LabelRow(name=name, color=color or next(free), place=position))
    session.flush()


def current_label(session: Session, name: str | None) -> str | None:
    """Current name of a class that may have been renamed.

    Existing names and names that were never renamed are returned unchanged.
    """
    tried: set[str] = set()
    now = name
    while now is not None and now not in tried and session.get(LabelRow, now) is None:
        tried.add(now)
        newest = session.scalars(
            select(EventRow.detail).where(EventRow.kind == RENAMED).order_by(EventRow.id.desc())
        )
        now = next((detail["to"] for detail in newest if detail["from"] == now), None)
    return name if now is None or now in tried else now


class LabelSet(DatabasePart):
    """Classes of one project."""

    def all(self) -> list[Label]:
        """All classes in order."""
        counts = (
            select(RecordRow.label, func.count().label("masks"))
            .where(RecordRow.deleted.is_(False), RecordRow.state != "rejected")
            .group_by(RecordRow.label)
            .subquery()
        )
        query = (
            select(LabelRow, func.coalesce(counts.c.masks, 0))
            .outerjoin(counts, counts.c.label == LabelRow.name)
            .order_by(LabelRow.place, LabelRow.name)
        )
        with reading(self.database) as session:
            return [Label(row.name, row.color, int(masks)) for row, masks in session.execute(query)]

    def add(self, name: str, color: str | None = None) -> None:
        """Append a class if it does not exist. Raises InputError."""
        name = _check_name(name)
        _check_color(color)
        with writing(self.database) as session:
            learn_label(session, name, color)

    def recolor(self, name: str, color: str) -> None:
        """Change the color of a class. Raises InputError, NotFoundError."""
        _check_color(color)
        with writing(self.database) as session:
            _row(session, name).color = color

    def move(self, name: str, place: int) -> None:
        """Move a class to a position, from 0. Raises NotFoundError."""
        with writing(self.database) as session:
            moved = _row(session, name)
            order = select(LabelRow).order_by(LabelRow.place, LabelRow.name)
            rows = [row for row in session.scalars(order) if row is not moved]
            rows.insert(min(max(place, 0), len(rows)), moved)
            for number, row in enumerate(rows):
                row.place = number

    def rename(self, name: str, to: str, who: str) -> int:
        """Rename a class and its masks, or merge it into an existing class. Returns the mask count.

        Raises InputError, NotFoundError.
        """
        to = _check_name(to)
        with writing(self.database) as session:
            old = _row(session, name)
            if to == name:
                return 0
            if session.get(LabelRow, to) is None:
                session.add(LabelRow(name=to, color=old.color, place=old.place))
            session.delete(old)
            detail = {"from": name, "to": to}
            session.add(event_row(Action(kind=RENAMED, detail=detail), None, who, self.clock()))
            return self._relabel(session, name, to, who)

    def delete(self, name: str, fate: Fate, who: str) -> int:
        """Delete a class. Its masks lose their class or are deleted. Returns their number.

        Raises NotFoundError.
        """
        with writing(self.database) as session:
            session.delete(_row(session, name))
            return self._relabel(session, name, None, who, delete=fate == "delete")

    def _relabel(
        self, session: Session, old: str, new: str | None, who: str, delete: bool = False
    ) -> int:
        query = select(RecordRow).where(RecordRow.label == old, RecordRow.deleted.is_(False))
        rows = list(session.scalars(query))
        for row in rows:
            row.author, row.created, row.deleted = who, self.clock(), delete
            row.label = old if delete else new
            remember(session, row, "record deleted" if delete else "record renamed", 0.0)
        return len(rows)


def _row(session: Session, name: str) -> LabelRow:
    checked_text("The class name", name)
    row = session.get(LabelRow, name)
    if row is None:
        raise NotFoundError(f"The project has no class {name[:60]!r}.")
    return row


def _check_name(name: str) -> str:
    checked_text("The class name", name)
    if not name.strip():
        raise InputError("The class name is empty. Enter at least one letter.")
    return name.strip()


def _check_color(color: str | None) -> None:
    if color is not None and not re.fullmatch("#[0-9a-f]{6}", color):
        raise InputError(f"The color must have the form #3d8bff. Given: {color[:20]!r}.")
