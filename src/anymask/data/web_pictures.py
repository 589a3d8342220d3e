"""Pictures from the web: an http(s) address in, the bytes of a file of bounded size out.

Used only where a caller says `allow_url=True`; nothing else in the package opens an address of
somebody else's.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from anymask.primitives.errors import ImageError

MOST_BYTES = 100_000_000
TIMEOUT = 30.0  # seconds without a byte
_AGENT = "anymask (https://pypi.org/project/anymask)"  # some servers refuse Python's own name


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, never from https down to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Raises ImageError for another kind of address."""
        new = urllib.parse.urlsplit(newurl).scheme.lower()
        if new not in ("http", "https") or (req.type == "https" and new == "http"):
            raise ImageError(f"{req.full_url} leads to {newurl[:200]!r}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_picture(address: str, most_bytes: int = MOST_BYTES) -> bytes:
    """The file at an address.

    Raises ImageError, naming the address, for another kind of address, where nothing answers, and
    for a file of more than `most_bytes`.
    """
    if address.partition("://")[0].lower() not in ("http", "https"):
        raise ImageError(f"wanted an address with http or https, got {address[:200]!r}")
    opener = urllib.request.build_opener(_SafeRedirects())
    try:
        request = urllib.request.Request(address, headers={"User-Agent": _AGENT})
        with opener.open(request, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(most_bytes + 1)
    except ImageError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImageError(
            f"{address[:200]} cannot be read ({error}); check the address, or download the photo"
        ) from error
    if len(data) > most_bytes:
        raise ImageError(
            f"{address[:200]} has more than {most_bytes} bytes; download it and name the file"
        )
    return data
