from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import utils as hub
from transformers.utils import logging

from energon_prep.encoders.quiet import quiet_libraries
from tests.encoders.loading import load_visual
from tests.encoders.recipes import recipe
from tests.published.autoencoders import autoencoder


def test_downloads_keep_their_bars_and_everything_is_put_back() -> None:
    before = (
        logging.is_progress_bar_enabled(),
        logging.get_verbosity(),
        hub.are_progress_bars_disabled(),
    )
    with pytest.raises(KeyError), quiet_libraries():
        assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.ERROR
        assert hub.are_progress_bars_disabled() == before[2]
        raise KeyError
    assert (
        logging.is_progress_bar_enabled(),
        logging.get_verbosity(),
        hub.are_progress_bars_disabled(),
    ) == before


def test_diffusers_reports_nothing_of_an_old_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither that accelerate is not installed, nor fields of config.json that its class does not
    have.
    """
    autoencoder(tmp_path, "sd-mse")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "clip_output": False}))
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.enable_propagation()
    load_visual(recipe(str(tmp_path), {"model": "t5-small"}), weights=None, device="cpu")
    diffusers_logging.disable_propagation()
    assert not [record for record in caplog.records if record.name.startswith("diffusers")]
    assert diffusers_logging.get_verbosity() == verbosity
