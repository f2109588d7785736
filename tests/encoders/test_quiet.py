from __future__ import annotations

import pytest
from huggingface_hub import utils as hub
from transformers.utils import logging

from energon_prep.encoders.quiet import quiet_libraries


def test_downloads_keep_their_bars_and_everything_is_put_back() -> None:
    before = (logging.is_progress_bar_enabled(), logging.get_verbosity(), hub.are_progress_bars_disabled())
    with pytest.raises(KeyError), quiet_libraries():
        assert not logging.is_progress_bar_enabled()
        assert logging.get_verbosity() == logging.ERROR
        assert hub.are_progress_bars_disabled() == before[2]
        raise KeyError
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity(), hub.are_progress_bars_disabled()) == before
