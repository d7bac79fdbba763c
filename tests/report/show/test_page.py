"""The page: self-contained, bounded, escaped, and it opens in a browser without a complaint."""

from __future__ import annotations

import itertools
import json
import re

import pytest
import torch
from PIL import Image
from torch import nn

import snnconvert
from snnconvert.report.examine import Examination, csv_rows, examine
from snnconvert.report.measures.cost import Cost
from snnconvert.report.pictures import Drawing
from snnconvert.report.show.curves import MOST_MARKS
from snnconvert.report.show.files import write_report
from snnconvert.report.show.page import energy_facts, page
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


def test_at_the_break_even_rate_both_networks_cost_the_same(classifier):
    spared = Cost(macs=10, acs=50, ann_macs=100, spike_driven_macs=90).to_dict(levels=3)
    facts = energy_facts({"cost": spared})
    assert facts["rate"] == 50 / 90 and facts["never"] == []
    for limit, other in zip(facts["limits"].values(), ("qann", "ann"), strict=True):
        there = Cost(10, limit * 90, 100, 90).to_dict(levels=3)
        assert there["energy_snn_mj"] == pytest.approx(there[f"energy_{other}_mj"])
    dear = Cost(macs=900, acs=50, ann_macs=100, spike_driven_macs=90).to_dict(levels=3)
    assert energy_facts({"cost": dear})["limits"] == {}
    text = page({**classifier.content, "cost": dear})
    assert "Without a spike it would still cost more than the quantised ANN and the float" in text


def luminance(colour: str) -> float:
    """Relative, of "#rgb" or "#rrggbb", as WCAG 2 defines it."""
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_told_from_what_they_lie_on(classifier):
    text = page(classifier.content)
    schemes = [dict(re.findall(r"--(\w+):(#\w+)", block))
               for block in re.findall(r":root\{([^}]*)\}", text)]  # fmt: skip
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        for ground in ("paper", "card"):
            for words in {"ink", "muted", "c2", "good"} & set(scheme):  # text: WCAG AA
                assert contrast(scheme[words], scheme[ground]) >= 4.5, (words, ground)
            for shape in {"c1", "c2", "c3", "c4", "accent"} & set(scheme):  # curves and bars
                assert contrast(scheme[shape], scheme[ground]) >= 3, (shape, ground)
    for colour in re.findall(r"\.tag\.\w+\{background:(#\w+)\}", text):
        assert contrast("#fff", colour) >= 4.5


def test_who_does_not_see_the_page_can_read_it(classifier, denoiser):
    for found in (classifier, denoiser):
        text = page(found.content, found.images)
        figures = re.findall(r'<svg class="figure".*?</svg>', text, re.DOTALL)
        for figure in figures:
            assert re.search(r'role="img" aria-label="[^"]{10,}"', figure)
            for style, words in re.findall(r"<text([^>]*)>([^<]*)", figure):
                assert "fill: var(--" in style  # black is not seen in the dark
                assert "mathdefault" not in words  # TeX stays text, for names may look like it
        assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", text))
        levels = [int(level) for level in re.findall(r"<h(\d)", text)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        assert '<html lang="en">' in text and "<main>" in text
        assert len(re.findall(r"<input[^>]*>", text)) == len(re.findall(r"<label>", text))
        assert all(re.search(r'scope="(col|row)"', tag) for tag in re.findall(r"<th[^>]*>", text)
                   if not tag.startswith("<thead"))  # fmt: skip


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
