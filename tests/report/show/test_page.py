"""The page: self-contained, bounded, escaped, and it opens in a browser without a complaint."""

from __future__ import annotations

import json
import re

import pytest
import torch
from PIL import Image
from torch import nn

import snnconvert
from snnconvert.report.examine import Examination, csv_rows, examine
from snnconvert.report.pictures import Drawing
from snnconvert.report.show.curves import MOST_MARKS
from snnconvert.report.show.files import write_report
from snnconvert.report.show.page import page
from tests.support.chromium import CHROMIUM, addresses, visit
from tests.support.unets import tiny_unet, unet_inputs

HOSTILE = '<img src=x onerror="alert(1)">&\'"]]>$x_{$'


class Named(nn.Module):
    """A small classifier whose only hidden layer has a name that is code elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.add_module(HOSTILE, nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU()))
        self.tail = nn.Sequential(nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))

    def forward(self, x):
        return self.tail(getattr(self, HOSTILE)(x))


@pytest.fixture(scope="module")
def classifier() -> Examination:
    model, batches = Named().eval(), [torch.randn(16, 2, 8, 8) for _ in range(4)]
    snn = snnconvert.convert(model, 4, example_inputs=batches[0], calibration=batches)
    return examine(model, snn, batches)


@pytest.fixture(scope="module")
def denoiser() -> Examination:
    qann, batches = tiny_unet(), [unet_inputs(batch=16, seed=s) for s in (1, 2)]
    snn = snnconvert.convert(qann, 4, example_inputs=batches[0], settle=1)
    schedule = snnconvert.Schedule.linear()
    drawing = Drawing((2, 8, 8), schedule)
    return examine(qann, snn, batches, float_ann=tiny_unet(levels=0), drawing=drawing)


def test_what_does_not_apply_is_left_out(classifier, denoiser):
    plain = page(classifier.content, classifier.images)
    drawn = page(denoiser.content, denoiser.images)
    for words in ("Drawn from equal seeds", "diffusion time"):
        assert words in drawn and words not in plain
    assert classifier.content["by_time"] is None and "drawn" not in classifier.content
    assert "thresholds learned in training" in drawn and "calibrated by mse" in plain


def test_the_page_needs_nothing_else_and_is_small(classifier, denoiser):
    for found in (classifier, denoiser):
        text = page(found.content, found.images)
        assert addresses(text) == [] and "@import" not in text and "fetch(" not in text
        assert len(text.encode()) < 1_000_000
        for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            marks = len(re.findall(r"<(?:path|use|rect|circle|line|image)\b", svg))
            assert marks <= MOST_MARKS
        text = text[: text.index("<script>")]
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        used = set(re.findall(r"(?:url\(#|href=\"#|aria-controls=\"|aria-labelledby=\")([^\")]+)",
                              text))  # fmt: skip
        assert used <= set(ids)


def test_hostile_names_are_text(classifier):
    assert any(HOSTILE in layer["name"] for layer in classifier.content["layers"])
    text = page(classifier.content, classifier.images, name=HOSTILE)
    assert "<img src=x" not in text and "&lt;img src=x" in text


def test_figures_beside_the_page_are_the_same(classifier, tmp_path):
    paths = write_report(classifier, tmp_path / "r.html")
    content = json.loads(paths[".json"].read_text())
    assert content == json.loads(json.dumps(classifier.content))
    rows = csv_rows(classifier.content)
    assert len(paths[".csv"].read_text().splitlines()) >= len(rows) == 1 + len(content["layers"])
    with pytest.raises(snnconvert.errors.InputError, match=r"\.html, \.json, \.csv"):
        write_report(classifier, tmp_path / "r.pdf")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_opens_it_without_a_complaint(denoiser, classifier, tmp_path, width):
    for name, found in (("denoiser", denoiser), ("classifier", classifier)):
        path = write_report(found, tmp_path / f"{name}.html", name=HOSTILE)[".html"]
        picture = tmp_path / "page.png"
        seen = visit(path, width, picture=picture)
        assert seen.console == [] and "</html>" in seen.dom
        assert seen.dom.count('class="layer"') == len(found.content["layers"])
        image = Image.open(picture).convert("L")
        assert image.width == width and image.getextrema()[0] < 100  # something dark is drawn


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_sorting_folding_and_hover_work(classifier, tmp_path):
    path = write_report(classifier, tmp_path / "r.html")[".html"]
    script = """<script>
    document.querySelector('[data-key=total]').click();
    document.querySelector('.fold').click();
    document.querySelector('tr.layer').dispatchEvent(new MouseEvent('mouseenter'));
    document.title = [...document.querySelectorAll('tr.layer')].map(r => r.dataset.total)
      .concat(document.querySelectorAll('tr.detail:not([hidden])').length,
              document.querySelectorAll('g.lit').length).join('|');
    </script></body>"""
    path.write_text(path.read_text().replace("</body>", script))
    seen = visit(path, 1280)
    *totals, opened, lit = re.search(r"<title>([^<]*)</title>", seen.dom)[1].split("|")
    totals = [float(total) for total in totals]
    assert totals == sorted(totals, reverse=True) and len(totals) == 2
    assert opened == "1" and int(lit) >= 1 and seen.console == []
