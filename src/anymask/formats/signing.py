"""Signed manifests of written datasets: SHA-256 of each file, the terms, an Ed25519 signature.

The manifest is `manifest.json` in an output folder, or NAME.manifest.json beside an output file:

    {"content": {"version": 1, "tool": ..., "whole_folder": true, "terms": {...},
                 "files": [{"path": "data.yaml", "bytes": 71, "sha256": "..."}]},
     "public_key": "<32 bytes, base64>", "signature": "<64 bytes, base64>"}

The signature (RFC 8032) is that of `content` as JSON with sorted keys, without spaces, in ASCII. It
proves that the owner of the key wrote the manifest; whose key it is must be known otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anymask.base import DataError, InputError, file_sha256, need_packages
from anymask.formats.documents import OutFile, read_bytes, read_json, to_json
from anymask.formats.facts import SetFacts
from anymask.formats.fields import as_list, as_record, as_text, as_whole
from anymask.formats.losses import located
from anymask.formats.origins import side_path
from anymask.formats.terms import TERMS

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MANIFEST = "manifest.json"
_MAKE_KEY = "Create one with: openssl genpkey -algorithm ed25519 -out key.pem"


@dataclass(frozen=True, kw_only=True)
class ManifestCheck:
    """Result of the verification of a manifest.

    Attributes:
        key: Public key of the signature, 64 hexadecimal digits.
        files: Number of files that the manifest lists.
        terms: Terms in the manifest: "licences", and keys such as "source" and "consent".
        changed: Files with another content.
        missing: Files that do not exist.
        extra: Files in the folder that the manifest does not list.
    """

    key: str
    files: int
    terms: Mapping[str, Any]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def is_intact(self) -> bool:
        """Whether all files are unchanged, and no file was added."""
        return not (self.changed or self.missing or self.extra)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an Ed25519 key in PEM format.

    Raises:
        MissingExtra: The package cryptography is not installed.
        InputError: The file is not such a key.
    """
    need_packages(("cryptography",), "sign", "Signing")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not path.is_file():
        raise InputError(f"Key file not found: {str(path)!r}. {_MAKE_KEY}")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except TypeError as error:
        raise InputError(f"{path} is encrypted. Use a key without a password.") from error
    except ValueError as error:
        raise InputError(f"{path} is not a private key in PEM format. {_MAKE_KEY}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is not an Ed25519 key. {_MAKE_KEY}")
    return key


def with_manifest(
    files: Iterable[OutFile], target: Path, key: Ed25519PrivateKey, facts: SetFacts
) -> Iterator[OutFile]:
    """Yield the files, then their signed manifest."""
    from importlib.metadata import version

    manifest, rows = side_path(target, MANIFEST), list[dict[str, Any]]()
    for path, data in files:
        name = path.relative_to(manifest.parent).as_posix()
        rows.append({"path": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        yield path, data
    terms = {name: facts.info[name] for name in TERMS if name in facts.info}
    content = {
        "version": 1, "tool": f"anymask {version('anymask')}",
        "whole_folder": manifest.parent == target,
        "terms": terms | ({"licences": facts.licences} if facts.licences else {}),
        "files": rows,
    }  # fmt: skip
    signed = {
        "content": content, "public_key": _base64(key.public_key().public_bytes_raw()),
        "signature": _base64(key.sign(signed_bytes(content))),
    }  # fmt: skip
    yield manifest, to_json(signed)


def signed_bytes(content: Any) -> bytes:
    """Return the bytes that are signed."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def check_manifest(path: Path, key: Path | None = None) -> ManifestCheck:
    """Verify the signature of a manifest, and compare the files with it.

    Args:
        path: Manifest, or the folder that contains it.
        key: Public key in PEM format that the signature must have. By default, the key in the
            manifest is used.

    Raises:
        MissingExtra: The package cryptography is not installed.
        DataError: The manifest is invalid, or its signature is.
        InputError: The key is invalid.
    """
    need_packages(("cryptography",), "sign", "Verification of a signature")
    path = path / MANIFEST if path.is_dir() else path
    with located(path):
        document = as_record(read_json(path), "the document")
        content = as_record(document["content"], "content")
        public = _verify(document, content, path, key)
        rows = {
            as_text(row["path"], "path"): (as_whole(row["bytes"], "bytes"), row["sha256"])
            for row in as_list(content["files"], "files")
        }
        terms = as_record(content.get("terms", {}), "terms")
    changed, missing = [], []
    root = path.parent.resolve()
    for name, (size, digest) in rows.items():
        file = (root / name).resolve()
        if not file.is_relative_to(root):
            raise DataError(f"{path}: The file {name!r} is outside the folder of the manifest.")
        if not file.is_file():
            missing.append(name)
        elif file.stat().st_size != size or file_sha256(file) != digest:
            changed.append(name)
    there = (one for one in root.rglob("*") if one.is_file()) if content.get("whole_folder") else ()
    names = sorted(one.relative_to(root).as_posix() for one in there)
    extra = tuple(name for name in names if name not in rows and name != path.name)
    return ManifestCheck(
        key=public.hex(), files=len(rows), terms=terms, changed=tuple(changed),
        missing=tuple(missing), extra=extra,
    )  # fmt: skip


def _verify(document: Mapping[str, Any], content: Any, path: Path, key: Path | None) -> bytes:
    """Return the public key of a manifest. Raises DataError for an invalid signature."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public = base64.b64decode(as_text(document["public_key"], "public_key"), validate=True)
    signature = base64.b64decode(as_text(document["signature"], "signature"), validate=True)
    if key is not None and (expected := _public_bytes(key)) != public:
        raise DataError(
            f"The manifest was signed with another key: expected {expected.hex()}, found "
            f"{public.hex()}."
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed_bytes(content))
    except InvalidSignature as error:
        raise DataError(
            "The signature is invalid: the manifest was changed after it was signed. Get the "
            "original manifest from the publisher of the dataset."
        ) from error
    return public


def _public_bytes(path: Path) -> bytes:
    """Read an Ed25519 public key in PEM format. Raises InputError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_bytes(path))
    except (ValueError, DataError) as error:
        key = None
        cause: Exception | None = error
    else:
        cause = None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(
            f"{path} is not an Ed25519 public key in PEM format. Create it with: openssl pkey "
            "-in key.pem -pubout -out public.pem"
        ) from cause
    return key.public_bytes_raw()
