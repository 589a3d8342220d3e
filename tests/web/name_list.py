"""The names of the small server's project, as the real one keeps them."""

from __future__ import annotations

from typing import Any

from anymask.studio.labels import nth_color


def listed(project: Any) -> list[dict[str, Any]]:
    """The names with their colours; one that a mask has is known."""
    used = [record["label"] for record in project.records.values() if record["label"]]
    names = list(dict.fromkeys([*project.labels, *used]))
    return [
        {
            "name": name,
            "color": project.colors.get(name, nth_color(place)),
            "masks": used.count(name),
        }
        for place, name in enumerate(names)
    ]


def change_names(project: Any, method: str, body: dict[str, Any]) -> None:
    """Add (POST), change (PUT) or delete (DELETE) a name."""
    name = body["name"]
    project.labels = [one["name"] for one in listed(project)]
    if method == "POST":
        project.labels = list(dict.fromkeys([*project.labels, name]))
    if "color" in body:
        project.colors[name] = body["color"]
    if "place" in body:
        project.labels.remove(name)
        project.labels.insert(body["place"], name)
    if "to" in body:
        project.labels[project.labels.index(name)] = body["to"]
        project.labels = list(dict.fromkeys(project.labels))
    if method == "DELETE":
        project.labels.remove(name)
    for key, record in list(project.records.items()):
        if record["label"] != name or not ("to" in body or method == "DELETE"):
            continue
        record |= {"label": body.get("to"), "version": record["version"] + 1}
        if body.get("masks") == "delete":
            del project.records[key]


def suggested(project: Any, wish: dict[str, Any]) -> dict[str, Any]:
    """The same names for every mask; of those that are wished, where some are known."""
    project.wishes.append(wish)
    known = [name for name in wish.get("names", []) if name in project.guesses]
    names = [name for name in project.guesses if name in known or not known][: wish["top"]]
    row = [{"label": name, "probability": project.guesses[name]} for name in names]
    return {"suggestions": [row for _ in wish["masks"]], "among": bool(known)}
