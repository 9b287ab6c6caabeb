"""The tables that commands print."""

from featvis.commands.tables import print_table


def test_tables_keep_what_they_are_given(capsys):
    print_table("[red]title[/red]", ("first", "second"), [("[bold]a", "1"), ("b" * 150, "ü" * 40), ("", "")])
    output = capsys.readouterr().out
    assert "[red]title[/red]" in output
    assert "[bold]a" in output
    assert "b" * 150 in output
    assert "ü" * 40 in output
    assert "\x1b" not in output
