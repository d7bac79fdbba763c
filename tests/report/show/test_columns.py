"""Tables in a terminal are laid out in one place."""

from snnconvert.report.show.columns import columns


def test_columns_have_their_side_and_width():
    rows = [("name", "n", "note"), ("a", "10.5", "x"), ("longer name", "1", "")]
    assert columns("<6 >5 <", rows) == [
        "name       n note",
        "a       10.5 x",
        "longer name     1 ",
    ]
    assert columns(">3 >3", [("1", "2")], gap="|") == ["  1|  2"]
