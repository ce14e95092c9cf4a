"""export.py --plot: the exported model's logits against the checkpoint's, on real rows of the given text."""

import numpy as np
import pytest
from support.models import save_checkpoint, save_checkpoints_and_text

from mobilebert.base import plots
from mobilebert.export.agreement import outputs_of_both


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return save_checkpoints_and_text(tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize(("model", "text", "outputs"), [("qa", "squad.json", 2), ("sst2", "sst2.tsv", 1)])
def test_int8_is_drawn_against_the_checkpoint(checkpoints, tmp_path, run_script, monkeypatch, model, text, outputs):
    drawn = {}
    real = plots.agreement
    monkeypatch.setattr(plots, "agreement", lambda pairs, *rest: (drawn.update(pairs), real(pairs, *rest)))
    picture = tmp_path / "int8.png"
    code, output, _ = run_script(
        "export", "--model", checkpoints / model, "--out", tmp_path / "out", "--quantize", "int8",
        "--calibration", checkpoints / text, "--plot", picture,
    )  # fmt: skip
    assert code == 0 and output.endswith(f"picture: {picture}\n") and picture.read_bytes().startswith(b"\x89PNG")
    assert len(drawn) == outputs
    for exact, value in drawn.values():
        error = np.abs(value - exact).max() / np.abs(exact).max()
        assert exact.shape == value.shape and 1e-5 < error < 0.3


def test_an_exact_export_agrees_and_another_model_does_not(checkpoints, tmp_path, run_script):
    code, _, _ = run_script("export", "--model", checkpoints / "qa", "--out", tmp_path / "out")
    assert code == 0
    text = checkpoints / "squad.json"
    for exact, value in outputs_of_both(checkpoints / "qa", tmp_path / "out", text).values():
        assert np.abs(value - exact).max() < 1e-5 * np.abs(exact).max()
    other = save_checkpoint(tmp_path / "other", "question-answering", hidden_act="gelu")  # negative control
    exact, value = outputs_of_both(other, tmp_path / "out", text)["start_logits"]
    assert np.abs(value - exact).max() > 1e-3 * np.abs(exact).max()


def test_a_picture_without_text_is_refused(checkpoints, tmp_path, run_script):
    code, _, errors = run_script(
        "export", "--model", checkpoints / "qa", "--out", tmp_path / "out", "--plot", tmp_path / "a.png"
    )
    assert code == 2 and errors == "error: --plot needs text: give --evaluation FILE or --calibration FILE\n"
    assert not (tmp_path / "out").exists()
