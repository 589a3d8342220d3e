"""Where a mask comes from: the model that made it, its weights, their licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Origin:
    """The model that took part in a mask.

    model    its name
    weights  the hash of its weights, "" where nobody says
    licence  of the weights; of tuned ones also that of the data, where it was stated; "" where
             nobody says
    data     what the weights learned from, and its terms, in words; "" where nobody says
    """

    model: str
    weights: str = ""
    licence: str = ""
    data: str = ""

    def to_json(self) -> dict[str, str]:
        """Without what nobody knows."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, record: object) -> Origin | None:
        """Read such a record; None for anything else."""
        if not isinstance(record, Mapping) or not isinstance(record.get("model"), str):
            return None
        told = {one: str(record.get(one, "")) for one in ("weights", "licence", "data")}
        return cls(record["model"], **told)
