"""Writes the tokenizers of published repositories: which files there are, and what their
configurations say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.published import byte_pairs, sentencepiece_models
from tests.published.files import write_json

_T5_SPECIAL = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def t5(folder: Path) -> int:
    """google/t5-v1_1-xxl: ``spiece.model`` and no tokenizer.json. Returns the number of tokens, as
    all here do.
    """
    extra = [f"<extra_id_{i}>" for i in range(100)]
    special = {**_T5_SPECIAL, "additional_special_tokens": extra}
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json", {**special, "extra_ids": 100, "sp_model_kwargs": {}}
    )
    return _write_spiece(folder, sentencepiece_models.t5()) + 100


def t5_of_a_pipeline(folder: Path, *, max_tokens: int) -> int:
    """zai-org/CogVideoX-5b, genmo/mochi-1-preview, Lightricks/LTX-Video: ``spiece.model`` and no
    tokenizer.json.
    """
    num = _write_spiece(folder, sentencepiece_models.t5())
    extra = {f"<extra_id_{i}>": num + 99 - i for i in range(100)}
    write_json(folder / "added_tokens.json", dict(sorted(extra.items())))
    _write_t5_config(
        folder,
        {**_ids(_T5_SPECIAL), **extra},
        extra_ids=100,
        model_max_length=max_tokens,
        legacy=True,
    )
    return num + 100


def t5_with_json(folder: Path, *, max_tokens: int = 512, config: bool = True) -> int:
    """google-t5, google/flan-t5-xxl, FLUX.1, Stable Diffusion 3: ``spiece.model`` and
    tokenizer.json.
    """
    model = sentencepiece_models.t5()
    num = _write_spiece(folder, model)
    extra = {f"<extra_id_{i}>": num + 99 - i for i in range(100)}
    pieces = [*sentencepiece_models.pieces(model), *((token, 0.0) for token in reversed(extra))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.normalizer = normalizers.Precompiled(sentencepiece_models.charsmap(model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    _write_with_end(tokenizer, [*_T5_SPECIAL.values(), *extra], folder)
    if config:
        ids = {**_ids(_T5_SPECIAL), **extra}
        _write_t5_config(folder, ids, extra_ids=100, model_max_length=max_tokens, legacy=True)
    return num + 100


def umt5(folder: Path) -> int:
    """google/umt5-xxl and the pipelines of Wan."""
    model = sentencepiece_models.umt5()
    num = _write_spiece(folder, model)
    extra = {f"<extra_id_{i}>": num + 299 - i for i in range(300)}
    pieces = [*sentencepiece_models.pieces(model), *((token, 0.0) for token in reversed(extra))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(sentencepiece_models.charsmap(model)),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), "\u2581"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    _write_with_end(tokenizer, [*_T5_SPECIAL.values(), *extra], folder)
    ids = {**_ids(_T5_SPECIAL), **extra}
    special = {"bos_token": "<s>", "clean_up_tokenization_spaces": True, "sp_model_kwargs": {}}
    _write_t5_config(folder, ids, extra_ids=300, model_max_length=512, **special)
    return num + 300


def clip(folder: Path, *, pad_token: str = byte_pairs.CLIP_END, json: bool = False) -> int:
    """``vocab.json`` and ``merges.txt``; tokenizer.json too in openai/clip-vit-large-patch14
    alone.
    """
    model = byte_pairs.clip_model()
    folder.mkdir(parents=True, exist_ok=True)
    model.save(str(folder))
    tokenizer = byte_pairs.clip_tokenizer(model)
    if json:
        tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        "bos_token": byte_pairs.CLIP_START,
        "eos_token": byte_pairs.CLIP_END,
        "unk_token": byte_pairs.CLIP_END,
    }
    write_json(folder / "special_tokens_map.json", {**special, "pad_token": pad_token})
    config = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
    }
    if pad_token != byte_pairs.CLIP_END:  # such as "!" in SDXL and SD3
        config["added_tokens_decoder"] = {
            **_added({pad_token: tokenizer.token_to_id(pad_token)}),
            **_added(
                {byte_pairs.CLIP_START: tokenizer.token_to_id(byte_pairs.CLIP_START)},
                special=False,
                normalized=True,
            ),
            **_added(
                {byte_pairs.CLIP_END: tokenizer.token_to_id(byte_pairs.CLIP_END)}, special=False
            ),
        }
    config |= {**special, "pad_token": pad_token, "tokenizer_class": "CLIPTokenizer"}
    write_json(folder / "tokenizer_config.json", config)
    return tokenizer.get_vocab_size()


def qwen(folder: Path) -> int:
    """Qwen/Qwen-Image: ``vocab.json``, ``merges.txt`` and no tokenizer.json."""
    model = byte_pairs.qwen_model()
    folder.mkdir(parents=True, exist_ok=True)
    model.save(str(folder))
    tokenizer = byte_pairs.qwen_tokenizer(model)
    added = {token: tokenizer.token_to_id(token) for token in byte_pairs.QWEN_SPECIAL}
    write_json(folder / "added_tokens.json", added)
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    write_json(folder / "special_tokens_map.json", special)
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": _added(added),
        "additional_special_tokens": list(byte_pairs.QWEN_SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "extra_special_tokens": {},
        "model_max_length": 131072,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    write_json(folder / "tokenizer_config.json", {**config, **special})
    return tokenizer.get_vocab_size()


def llama(folder: Path) -> int:
    """hunyuanvideo-community/HunyuanVideo: tokenizer.json alone, of a class that it is not."""
    tokenizer = byte_pairs.llama_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    added = {
        token: tokenizer.token_to_id(token)
        for token in (*byte_pairs.LLAMA_SPECIAL, *byte_pairs.LLAVA_SPECIAL)
    }
    write_json(folder / "special_tokens_map.json", special)
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": None,
        "added_tokens_decoder": _added(added),
        "clean_up_tokenization_spaces": True,
        "extra_special_tokens": {},
        "legacy": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 256,
        "padding_side": "right",
        "processor_class": "LlavaProcessor",
        "tokenizer_class": "LlamaTokenizer",
        "use_default_system_prompt": False,
    }
    write_json(folder / "tokenizer_config.json", {**config, **special})
    return tokenizer.get_vocab_size()


def gemma(folder: Path) -> int:
    """google/gemma-2-2b-it and its copies: tokenizer.json and ``tokenizer.model``."""
    tokenizer = byte_pairs.gemma_tokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer.model").write_bytes(sentencepiece_models.gemma())
    special = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    added = {
        token: tokenizer.token_to_id(token)
        for token in ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    }
    turns = ["<start_of_turn>", "<end_of_turn>"]
    write_json(folder / "special_tokens_map.json", {**special, "additional_special_tokens": turns})
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": _added(
            added | {token: tokenizer.token_to_id(token) for token in turns}
        ),
        "additional_special_tokens": turns,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1000000000000000019884624838656,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "use_default_system_prompt": False,
    }
    write_json(folder / "tokenizer_config.json", {**config, **special})
    return tokenizer.get_vocab_size()


def _write_spiece(folder: Path, model: bytes) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model)
    return len(sentencepiece_models.pieces(model))


def _write_with_end(tokenizer: Tokenizer, special: list[str], folder: Path) -> None:
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def _write_t5_config(folder: Path, ids: dict[str, int], **config: Any) -> None:
    special = {
        **_T5_SPECIAL,
        "additional_special_tokens": [token for token in ids if token.startswith("<extra_id_")],
    }
    write_json(folder / "special_tokens_map.json", special)
    added = {"added_tokens_decoder": _added(ids), "tokenizer_class": "T5Tokenizer"}
    write_json(folder / "tokenizer_config.json", {**config, **special, **added})


def _ids(special: dict[str, str]) -> dict[str, int]:
    return {token: ("<pad>", "</s>", "<unk>").index(token) for token in special.values()}


def _added(
    ids: dict[str, int], *, special: bool = True, normalized: bool = False
) -> dict[str, Any]:
    flags = {
        "lstrip": False,
        "normalized": normalized,
        "rstrip": False,
        "single_word": False,
        "special": special,
    }
    return {
        str(i): {"content": token, **flags}
        for token, i in sorted(ids.items(), key=lambda item: item[1])
    }
