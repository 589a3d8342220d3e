"""Small masks for small photos, and what a store holds of events."""

import numpy as np
from sqlalchemy import func, select

from anymask.masks import Rle, mask_to_rle
from anymask.studio.database import reading
from anymask.studio.store import Store
from anymask.studio.tables import EventRow


def small_mask(columns: int) -> Rle:
    """The first columns of a 6 x 8 photo."""
    mask = np.zeros((6, 8), np.bool_)
    mask[:, :columns] = True
    return mask_to_rle(mask)


def count_events(store: Store, kind: str) -> int:
    """How many events of a kind the store has kept."""
    query = select(func.count()).select_from(EventRow).where(EventRow.kind == kind)
    with reading(store.database) as session:
        return int(session.scalar(query) or 0)
