import pytest

from xferlib import viz


def test_text_by_hand():
    table = viz.table([["FCN-8s", "≈62.7", "1,234"], ["U", "≈9.1", "–"]], ["net", "IU", "size"])
    assert str(table) == "net | IU | size\nFCN-8s | ≈62.7 | 1,234\nU | ≈9.1 | –"


def test_html_escapes_and_sets_numbers_to_the_right():
    page = viz.table([["<b>", 1.5]], ["a & b", "n"])._repr_mimebundle_()["text/html"]
    assert "<td>&lt;b&gt;</td>" in page
    assert "<th>a &amp; b</th>" in page
    assert '<td class="text-right">1.5</td>' in page


def test_errors_name_the_value():
    with pytest.raises(ValueError, match=r"\['x'\] has 1 cells under 2 titles"):
        viz.table([["x"]], ["a", "b"])
    with pytest.raises(ValueError, match="no row"):
        viz.table([], ["a"])
