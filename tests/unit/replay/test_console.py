import io

import pytest
from rich.live import Live
from rich.table import Table

from replay.console import Terminal

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J \r\x08back \u202egnp.exe \u2028 \x7f [bold]not bold[/]"
# Rich itself leaves out the bell, the backspace and the carriage return.
SHOWN = r"\x1b[31mred\x1b]0;title \x9b2J back \u202egnp.exe \u2028 \x7f [bold]not bold[/]"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_strangers_wrote_steers_no_terminal(is_terminal: bool) -> None:
    written = io.StringIO()
    terminal = Terminal(
        file=written, force_terminal=is_terminal, width=300, soft_wrap=True, color_system=None
    )
    terminal.print(HOSTILE, markup=False, highlight=False)
    table = Table("id")
    table.add_row(HOSTILE.replace("[", r"\["))
    terminal.print(table)
    with Live(table, console=terminal, auto_refresh=False, transient=False):
        pass
    text = written.getvalue()
    for code in ("\x1b[31m", "\x1b]0;", "\x9b", "\x07", "\x08", "\x7f", "\u202e", "\u2028"):
        assert code not in text
    assert text.startswith(SHOWN)


def test_colours_and_lines_are_still_there() -> None:
    written = io.StringIO()
    terminal = Terminal(file=written, force_terminal=True, width=80, color_system="standard")
    terminal.print("[red]one[/]\ntwo")
    assert written.getvalue() == "\x1b[31mone\x1b[0m\ntwo\n"
