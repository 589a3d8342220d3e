"""Mistyped words get one line that names the right ones; numbers may have spaces between them."""

from pathlib import Path

import pytest

from anymask.base import InputError
from anymask.cli import Settings
from anymask.cli.command import CommandParser, nearest
from anymask.segment import SegmentSettings
from tests.conftest import CommandLine


def parser() -> CommandParser:
    """Like a command's, with sub-commands."""
    made = CommandParser(prog="anymask probe")
    made.add_argument("--box", metavar="X0,Y0,X1,Y1", action="append")
    made.add_argument("--point", metavar="X,Y", action="append")
    made.add_argument("--count", metavar="N", type=int)
    made.add_argument("--layout", choices=("flat", "tree"))
    group = made.add_argument_group("declared")
    Settings(SegmentSettings, only=("zoom", "mirror")).add_to(group)
    made.add_argument("--quiet", action="store_true")
    made.add_argument("image", metavar="IMAGE", nargs="?")
    return made


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--points", "1,2"], "Unknown option --points. Did you mean '--point'?"),
        (["--bbox", "1,2"], "Unknown option --bbox. Did you mean '--box'?"),
        (["--bboxes", "1,2"], "Unknown option --bboxes. Did you mean '--box'?"),
        (["--zzz"], "Unknown option --zzz. 'anymask probe --help' lists the options"),
        (["-x"], "Unknown option -x. 'anymask probe --help' lists the options"),
        (["--layout", "Tree"], "--layout: Invalid choice 'Tree'. Did you mean 'tree'?"),
        (["--layout", "q"], "--layout: Invalid choice 'q'. Choose from: flat, tree"),
        (
            ["--count", "all"],
            "Expected a whole number for --count, got 'all'. 'anymask probe --help'",
        ),
        (["--count"], "--count requires a value. 'anymask probe --help' lists"),
        (
            ["--quiet=1"],
            "--quiet does not take a value, but '1' was passed. 'anymask probe --help' lists",
        ),
        (["a", "b"], "Unexpected argument 'b'. 'anymask probe --help' lists"),
        (["--point", "1,2", "3,4", "a.jpg"], "Unexpected argument 'a.jpg'"),
        (
            ["a", "--zoom", "maybe"],
            "--zoom: Invalid value 'maybe'. Expected yes, no, auto or no value. Without",
        ),
        (
            ["a", "--zoom", "Aut"],
            "--zoom: Invalid value 'Aut'. Expected yes, no, auto or .* Did you mean 'auto'",
        ),
        (["a", "--mirror", "off"], "--mirror: Invalid value 'off'. .* Did you mean 'no'?"),
        (["--mirror=on", "a"], "--mirror: Invalid value 'on'. .* Did you mean 'yes'?"),
        (
            ["a", "--zoom", "--mirror", "b"],
            "--mirror: Invalid value 'b'. Expected yes, no or no value",
        ),
        (["a", "--zoom", "no", "b"], "Unexpected argument 'b'"),
        (["a", "--point", "1,2", "3,4"], "Unexpected argument '3,4'. Repeat the option"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        parser().parse_args(words)
    start, _, end = told.partition(" .* ")
    assert str(caught.value).startswith(start)
    assert end in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["--box", "180,20,400,230"],
        ["--box", "180", "20", "400", "230"],
        ["--box", "180,", "20,", "400,", "230"],
        ["--box", "180,20", "400,230"],
        ["--box=180", "20", "400", "230"],
    ],
)
def test_numbers_may_have_spaces_between_them(words: list[str]) -> None:
    for line in ([*words, "a.jpg"], ["a.jpg", *words]):
        args = parser().parse_args(line)
        assert (args.box, args.image) == (["180,20,400,230"], "a.jpg")


def test_numbers_may_be_negative_and_no_more_are_taken_than_wanted() -> None:
    args = parser().parse_args(["--point", "-5", "3", "12", "--point", "1", "2"])
    assert (args.point, args.image) == (["-5,3", "1,2"], "12")


def test_a_sub_command_s_options_are_its_own() -> None:
    top = CommandParser(prog="anymask probe")
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list").add_argument("--json")
    actions.add_parser("get").add_argument("--again")
    with pytest.raises(InputError, match="Missing: ACTION. Choose from: list, get"):
        top.parse_args([])
    with pytest.raises(InputError, match="ACTION: Invalid choice 'lst'. Did you mean"):
        top.parse_args(["lst"])
    with pytest.raises(InputError, match="Unknown option --jsn. Did you mean '--json'"):
        top.parse_args(["list", "--jsn", "a"])
    assert top.parse_args(["list", "--json", "a"]).json == "a"


def test_an_output_option_of_a_command_with_a_positional_output_is_explained() -> None:
    made = CommandParser(prog="anymask probe")
    made.add_argument("source", metavar="IN")
    made.add_argument("target", metavar="OUT")
    made.add_argument("--to")
    for option in ("-o", "--output"):
        with pytest.raises(InputError, match=f"option {option}. Pass the output without it, after"):
            made.parse_args(["a.json", option, "b.json"])


def test_an_option_of_two_sub_commands_is_read_as_the_chosen_one_has_it() -> None:
    made = CommandParser(prog="anymask probe")
    actions = made.add_subparsers(dest="action")
    actions.add_parser("take").add_argument("--all", action="store_true")
    actions.add_parser("give").add_argument("--all", nargs="?", const=True, metavar="yes|no")
    assert made.parse_args(["take", "--all"]).all is True
    assert made.parse_args(["give", "--all", "no"]).all == "no"


def test_the_nearest_name_is_found_by_case_beginning_and_slip() -> None:
    known = ["segment", "serve", "score", "--negative", "--point"]
    found = [nearest(word, known) for word in ("SEGMENT", "seg", "sgement", "--neg", "s", "zz")]
    assert found == ["segment", "segment", "segment", "--negative", None, None]


def test_every_command_s_error_is_one_line(cli: CommandLine) -> None:
    from anymask.cli.command_table import COMMANDS

    for name in COMMANDS:
        error = cli.refused([name, "--no-such-option"])
        assert error.startswith("anymask: error: Unknown option --no-such-option. ")
        assert error.count("\n") == 1


def test_all_that_is_missing_is_named() -> None:
    given = CommandParser(prog="anymask probe")
    given.add_argument("video", metavar="VIDEO")
    given.add_argument("-o", required=True)
    with pytest.raises(InputError, match="Missing: VIDEO, -o"):
        given.parse_args([])
    with pytest.raises(InputError, match="Missing: -o"):
        given.parse_args(["a.mp4"])


def test_a_file_whose_name_begins_with_a_dash_is_told_how_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-x.jpg", "-y", "--image.jpg"):
        Path(name).touch()
        with pytest.raises(InputError, match=f"{name}' looks like an option. .* write ./{name}$"):
            parser().parse_args([name])
        assert parser().parse_args(["--", name]).image == name
    assert parser().parse_args([f"./{name}", "--count", "1"]).count == 1
