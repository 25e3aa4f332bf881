import pytest

from pitcore.errors import DataError
from pitcore_tools.documents import fill, filled, markdown


def test_each_table_takes_its_place_and_the_rest_stays():
    text = "a\n<!-- table: x -->\nold\n<!-- end -->\nb\n<!-- table: y -->\n<!-- end -->\n"
    new = filled(text, {"x": lambda: "1", "y": lambda: "2", "unplaced": lambda: "3"})
    assert new == "a\n<!-- table: x -->\n1\n<!-- end -->\nb\n<!-- table: y -->\n2\n<!-- end -->\n"
    assert filled(new, {"x": lambda: "1"}) == new


def test_a_document_without_a_place_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no <!-- table: x -->"):
        filled("nothing", {"x": lambda: "1"})
    with pytest.raises(DataError, match="has no <!-- end --> after it"):
        filled("<!-- table: x -->", {"x": lambda: "1"})
    with pytest.raises(DataError, match="cannot be read"):
        fill(tmp_path / "absent.md", {"x": lambda: "1"})


def test_a_table_is_github_markdown():
    assert markdown(["a", "b"], [["1", ""]]) == "| a | b |\n| --- | --- |\n| 1 |  |"
