"""Declare settings once, and check arguments against them.

    @describe_settings
    @dataclass(frozen=True, kw_only=True)
    class Shape:
        side: Annotated[int, Setting("pixels along each side", least=1)] = 32

The field is the single definition of the setting's name, type, range, default and description. The
command line (`cli.options`), the tables of the documentation and, for type checkers, the types of
keyword arguments (`keywords.pyi`) are generated from it.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import reprlib
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from anymask.base.errors import ConfigError, InputError
from anymask.base.synonyms import ARGUMENTS, ATTRIBUTES, NO_ARGUMENTS

Settings = TypeVar("Settings")
Explained = TypeVar("Explained", bound=Callable[..., Any])


def our_word(other: str) -> str:
    """Return the keyword for another tool's argument name; "" if there is none."""
    return ARGUMENTS.get(other, "").partition("=")[0]


def check_keywords(given: Iterable[str], known: Collection[str]) -> None:
    """Raise InputError for the first unknown name, with a suggested replacement."""
    for name in given:
        if name in known:
            continue
        import difflib

        if our_word(name) in known:
            remedy = f"Use {ARGUMENTS[name]}."
        elif name in NO_ARGUMENTS:
            remedy = f"Use {NO_ARGUMENTS[name]}."
        elif near := difflib.get_close_matches(name, known, 1):
            remedy = f"Did you mean {near[0]!r}?"
        else:
            listed = f"Valid arguments: {', '.join(known)}"
            remedy = listed if known else "No keyword arguments are supported."
        raise InputError(f"Unknown argument {name!r}. {remedy}")


_SETTINGS_BY_CLASS: dict[type, tuple[DeclaredSetting, ...]] = {}  # cache by class
# Types whose values are checked, besides string literals, lists and tables of them.
_CHECKED_TYPES = (Any, bool, int, float, str, Path, NoneType)
_MAX_INTEGER = 1 << 62  # limit of whole numbers: more than 64 bits overflow in arrays
_MAX_QUOTED = 60  # characters of a value that a message quotes
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 3, _MAX_QUOTED, _MAX_QUOTED


@dataclass(frozen=True)
class Setting:
    """Description, range and command-line form of a setting."""

    description: (
        str  # Description for docstring, command line and documentation: one line, no full stop
    )
    ge: float = 0  # Minimum value
    gt: float | None = None  # Exclusive minimum
    le: float = math.inf  # Maximum value
    lt: float | None = math.inf  # Exclusive maximum. None also allows infinity.
    unit: str = ""  # Unit of a number, such as "pixels"
    # Description of the default, if its value is not self-explanatory. None: `description` states
    # it.
    default: str | None = ""
    # Function that raises InputError for invalid values, instead of the built-in check
    check: Callable[[object], object] | None = None
    option: str = ""  # Command-line option, if it is not the name with hyphens
    metavar: str = ""  # Metavar of the option, such as "LOW,HIGH"
    repeat: bool = False  # Whether the option can be repeated; the value is a list
    # Function that converts the command-line text to a value, instead of a conversion by type.
    # Raises InputError.
    parse: Callable[[str], object] | None = None


@dataclass(frozen=True)
class DeclaredSetting:
    """A declared field of a settings dataclass."""

    name: str
    # Parts of its type: classes, and the strings and booleans of a Literal. `float | None` has two.
    members: tuple[Any, ...]
    default: Any
    about: Setting

    @property
    def words(self) -> tuple[str, ...]:
        """Allowed strings."""
        return tuple(member for member in self.members if isinstance(member, str))

    @property
    def number(self) -> type[int] | type[float] | None:
        """Number type that it accepts, None for no number."""
        return next((kind for kind in (float, int) if kind in self.members), None)

    @property
    def option(self) -> str:
        """Name of the command-line option."""
        return self.about.option or f"--{self.name.replace('_', '-')}"

    @property
    def default_in_words(self) -> str:
        """Default, formatted for help texts."""
        plain = f"{self.default:.4g}" if isinstance(self.default, float) else f"{self.default}"
        return self.about.default or plain

    @property
    def expected(self) -> str:
        """Allowed values, formatted for error messages."""
        ways = ["True", "False"] if bool in self.members else []
        ways += [f'"{word}"' for word in self.words]
        ways += ["text"] if str in self.members else []
        ways += ["a path"] if Path in self.members else []
        ways += [self._expected_number()] if self.number else []
        for kind, part in self._parts().items():
            each = re.sub(r"^a (whole )?number", r"\1numbers", part.expected)
            ways += [f"a {'list' if kind is tuple else 'table'} of {each or 'values'}"]
        ways += ["None"] if NoneType in self.members else []
        return " or ".join([", ".join(ways[:-1]), ways[-1]] if len(ways) > 1 else ways)

    def _expected_number(self) -> str:
        about = self.about
        most = "" if about.le == math.inf else f" and at most {about.le:g}"
        if self.number is int:
            return f"a whole number of at least {about.ge:g}{most}"
        kind = f"a number of {about.unit}" if about.unit else "a number"
        if about.gt is not None:
            return f"{kind} above {about.gt:g}{most}"
        if most:
            return f"{kind} from {about.ge:g} to {about.le:g}"
        most = "" if about.lt in (None, math.inf) else f" and less than {about.lt:g}"
        return f"{kind}, {about.ge:g} or more{most}"

    def check(self, value: object) -> None:
        """Raise InputError if a value is not allowed."""
        if self.about.check is not None:
            self.about.check(value)
        elif self._is_plain():
            if self._takes(value):
                return
            if isinstance(value, int) and abs(value) > _MAX_INTEGER:
                raise InputError(f"{self.name} is out of range, got {_shown(value)}.")
            share = self.about.le == 1 or self.about.lt == 2  # predicted IoUs can exceed 1
            remedy = ""
            if share and isinstance(value, int | float) and 2 <= value <= 100:
                remedy = f"; for {value:g} % write {value / 100:.2g}"
            raise InputError(f"{self.name} must be {self.expected}, got {_shown(value)}{remedy}.")

    def _parts(self) -> dict[type, DeclaredSetting]:
        """Setting of the items of a list, `tuple[int, ...]`, and of the values of a table."""
        rows = [(get_origin(member), get_args(member)) for member in self.members]
        return {
            kind: replace(self, members=tuple(_members_of(args[0 if kind is tuple else 1])))
            for kind, args in rows
            if kind is dict or (kind is tuple and args[-1] is ...)
        }

    def _is_plain(self) -> bool:
        parts = self._parts()
        return all(
            member in _CHECKED_TYPES or isinstance(member, str) or get_origin(member) in parts
            for member in self.members
        ) and all(part._is_plain() for part in parts.values())

    def _takes(self, value: object) -> bool:
        if Any in self.members:
            return True
        if value is None or isinstance(value, bool):
            return type(value) in self.members
        if isinstance(value, str):
            return value in self.words or str in self.members or Path in self.members
        if isinstance(value, os.PathLike):
            return Path in self.members
        if isinstance(value, list | tuple | dict):
            part = self._parts().get(dict if isinstance(value, dict) else tuple)
            items = value.values() if isinstance(value, dict) else value
            return part is not None and all(part._takes(item) for item in items)
        if self.number is None or not isinstance(value, (int, self.number)):
            return False
        if isinstance(value, int) and abs(value) > _MAX_INTEGER:
            return False
        high_enough = self.about.gt is None or value > self.about.gt
        low_enough = self.about.lt is None or value < self.about.lt
        return high_enough and low_enough and self.about.ge <= value <= self.about.le


def _shown(value: object) -> str:
    """Format a value for a message, without formatting all of it."""
    try:
        text = _BRIEF.repr(value)
    except ValueError:  # a whole number of more digits than Python converts
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 3]}..."


def list_settings(declared: type) -> tuple[DeclaredSetting, ...]:
    """Return the fields of a dataclass that are annotated with a `Setting`, in order."""
    if declared in _SETTINGS_BY_CLASS:
        return _SETTINGS_BY_CLASS[declared]
    hints, listed = get_type_hints(declared, include_extras=True), []
    for field in fields(declared):
        hint, make = hints[field.name], field.default_factory
        default = field.default if make is MISSING else make()
        listed += [
            DeclaredSetting(field.name, tuple(_members_of(hint)), default, about)
            for about in getattr(hint, "__metadata__", ())
            if isinstance(about, Setting)
        ]
    _SETTINGS_BY_CLASS[declared] = tuple(listed)
    return _SETTINGS_BY_CLASS[declared]


def _members_of(hint: Any) -> list[Any]:
    """`Annotated[bool | Literal["auto"], ...]` -> [bool, "auto"]."""
    if get_origin(hint) is Annotated:
        return _members_of(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return [member for part in get_args(hint) for member in _members_of(part)]
    return [hint]


def check_settings(values: object) -> None:
    """Validate all declared settings of a dataclass instance.

    NumPy scalars are converted to Python numbers, which JSON can store.

    Raises:
        InputError: A value is not allowed; the message names the first such field.
    """
    for setting in list_settings(type(values)):
        value = getattr(values, setting.name)
        if getattr(value, "shape", None) == () and hasattr(value, "item"):
            value = value.item()
            object.__setattr__(values, setting.name, value)
        setting.check(value)


def as_settings(kind: type[Settings], given: Mapping[str, Any], **more: Any) -> Settings:
    """Create settings from keyword arguments; strings become paths where required.

    Args:
        kind: Settings class.
        given: Keyword arguments.
        more: Fields that are not keyword arguments.

    Raises:
        InputError: A keyword is unknown, or a value is invalid.
    """
    check_keywords(given, sorted({field.name for field in fields(kind)} - more.keys()))  # type: ignore[arg-type]  # a dataclass
    paths = {setting.name for setting in list_settings(kind) if Path in setting.members}
    values = {
        name: Path(value) if name in paths and value is not None else value
        for name, value in given.items()
    }
    return kind(**more, **values)


def settings_from_table(
    kind: type[Settings], table: Mapping[str, Any], where: object, **more: Any
) -> Settings:
    """Create settings from a table of a TOML or JSON file.

    Args:
        kind: Settings class.
        table: Values by field name; lists become tuples.
        where: File name and part, for errors.
        more: Fields that are no keys of the table.

    Raises:
        ConfigError: A key is unknown or missing, or a value is invalid.
    """
    declared = {setting.name: setting for setting in list_settings(kind)}
    for name in table:
        if name not in declared:
            raise ConfigError(
                f"Unknown key {name!r} in {where}. Known keys: {', '.join(declared)}."
            )
    for name, setting in declared.items():
        if setting.default is MISSING and name not in table:
            raise ConfigError(f"Missing {name} in {where}. Set it to {setting.expected}.")
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    try:
        return kind(**more, **values)
    except InputError as error:
        raise ConfigError(f"Invalid value in {where}: {error}") from error


def describe_settings(declared: type[Settings]) -> type[Settings]:
    """Make a dataclass validate its settings, and add them to its docstring and signature.

    The validation (`check_settings`) precedes the `__post_init__` of the class.
    """
    rows = [
        textwrap.fill(
            f"{setting.name}: "
            f"{setting.about.description[:1].upper()}{setting.about.description[1:]}.",
            100,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
        )
        for setting in list_settings(declared)
    ]
    about = (declared.__doc__ or "").rstrip()
    declared.__doc__ = "\n".join([about, "", "    Attributes:", *rows, ""])
    vars(declared)["__init__"].__annotations__ |= get_type_hints(declared)
    hook = vars(declared).get("__post_init__")
    wrapped = hook or vars(declared)["__init__"]

    @functools.wraps(wrapped)
    def checked(self: object, *args: Any, **given: Any) -> None:
        if hook is not None:
            check_settings(self)
        wrapped(self, *args, **given)
        if hook is None:
            check_settings(self)

    setattr(declared, wrapped.__name__, checked)
    return declared


# Arguments of public methods.


def explain_keywords(cls: Explained) -> Explained:
    """Make a function, or the public methods of a class, raise InputError for unknown keywords.

    Methods that accept `**kwargs` check them themselves. Unknown attributes of objects of the class
    raise AttributeError, with a remedy for the names of other tools.
    """
    if not isinstance(cls, type):
        return cast(Explained, _explained(cls))
    others = ATTRIBUTES.get(cls.__name__, {})

    def find_attribute(self: object, name: str) -> Any:
        told = f"{cls.__name__} has no attribute {name!r}. {others.get(name, '')}".rstrip()
        raise AttributeError(told, name=name, obj=self)

    setattr(cls, "__getattr__", find_attribute)  # noqa: B010  # type checkers report unknown names
    for name, method in list(vars(cls).items()):
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        if not method.__code__.co_flags & inspect.CO_VARKEYWORDS:
            setattr(cls, name, _explained(method))
    return cls


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    code = method.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = known[1:] if known[:1] == ("self",) else known

    @functools.wraps(method)
    def call(*args: Any, **given: Any) -> Any:
        if not given.keys() <= {*known}:
            check_keywords(given, known)
        return method(*args, **given)

    return call


def refuse_text(requested: str, **values: object) -> None:
    """Raise InputError for text in place of True or False, or of a list.

    Else "no" counts as True, and "12" as a list of "1" and "2".
    """
    for name, value in values.items():
        if isinstance(value, str | bytes):
            raise InputError(f"{name} must be {requested}, got {_shown(value)}.")


def check_number(
    name: str, value: object, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise InputError unless a value is a number from `least` to `most`."""
    try:
        inside = least <= float(value) <= most  # type: ignore[arg-type]  # anything may be given
    except (TypeError, ValueError, OverflowError):
        inside = False
    if isinstance(value, str) or not inside:
        allowed = f" from {least:g} to {most:g}" if most < math.inf else f" of at least {least:g}"
        raise InputError(
            f"{name} must be a number{allowed if least > -math.inf else ''}. Given: "
            f"{_shown(value)}."
        )
