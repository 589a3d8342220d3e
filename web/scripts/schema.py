"""Writes web/src/store/schema.ts: the server's JSON as TypeScript, of its OpenAPI document.

Run `python web/scripts/schema.py` after a change of the schemas in src/anymask/studio; a test holds
that the file is what the server says.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from PIL import Image

from anymask.studio import (
    EmbeddingCache,
    Inference,
    ServedProject,
    ServerParts,
    create_app,
    create_project,
)

TARGET = Path(__file__).parents[1] / "src" / "store" / "schema.ts"
HEAD = (
    "/** What the server sends and takes as JSON; made by web/scripts/schema.py, not by hand. */\n"
)
WORDS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}


def openapi() -> dict[str, Any]:
    """The OpenAPI document of a server with a project."""
    with tempfile.TemporaryDirectory() as folder:
        Image.new("RGB", (8, 8)).save(Path(folder) / "a.png")
        project = create_project(folder)
        inference = Inference(lambda: None, "none", EmbeddingCache(0))  # type: ignore[arg-type, return-value]  # never loaded
        document = create_app(ServerParts(inference, project=ServedProject(project))).openapi()
        project.close()
    return document


def to_typescript(document: dict[str, Any]) -> str:
    """An interface for each schema of the document, by name."""
    schemas = document["components"]["schemas"]
    return HEAD + "".join(
        f"\n{_comment(schema)}export {_declared(name, schema)}\n"
        for name, schema in sorted(schemas.items())
    )


def _declared(name: str, schema: dict[str, Any]) -> str:
    name = _plain(name)
    if schema.get("type") != "object" or "properties" not in schema:
        return f"type {name} = {_type(schema)};"
    required = schema.get("required", ())
    lines = []
    for key, value in schema["properties"].items():
        told = f" // {value['description']}" if "description" in value else ""
        line = f"  {key}{'' if key in required else '?'}: {_type(value)};"
        line = line if len(line) <= 100 else line.replace(": ", ":\n    ", 1)  # as prettier does
        lines.append(f"{line}{told if len(line + told) <= 100 else ''}\n")
    return f"interface {name} {{\n{''.join(lines)}}}"


def _plain(name: str) -> str:
    """A schema's name; of those that differ as input and output, one or the other."""
    return re.sub(r"-(Input|Output)$", lambda found: found[1], name)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _plain(schema["$ref"].rpartition("/")[2])
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return " | ".join(_literal(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(way) for way in schema["anyOf"]))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"[{', '.join(_type(item) for item in schema['prefixItems'])}]"
        case "array":
            items = schema.get("items", {})
            several = "anyOf" in items or "enum" in items
            return f"({_type(items)})[]" if several else f"{_type(items)}[]"
        case "object":
            more = schema.get("additionalProperties")
            return f"Record<string, {_type(more) if isinstance(more, dict) else 'unknown'}>"
        case "null":
            return "null"
        case kind:
            return WORDS.get(str(kind), "unknown")


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _comment(schema: dict[str, Any]) -> str:
    told = " ".join(schema.get("description", "").partition("\n\n")[0].split())
    lines = textwrap.wrap(told, 97)
    if len(told) <= 92:
        return f"/** {told} */\n" if told else ""
    return "".join(f"{line}\n" for line in ["/**", *(f" * {line}" for line in lines), " */"])


if __name__ == "__main__":
    TARGET.write_text(to_typescript(openapi()))
