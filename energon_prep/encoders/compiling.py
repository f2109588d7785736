"""Torch.compile, which is to work for sizes of every kind and give what the model gives."""

from __future__ import annotations

import functools
import logging
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import torch

from energon_prep.errors import PrepError

logger = logging.getLogger(__name__)

#: The compiler, or what stands in for it: a name that torch.compile knows, or a function of a graph
#: and its inputs.
backend: Any = "inductor"

#: torch gives up on a function, and runs it uncompiled without a word, after 8 variants. There are
#: 2 of most encoders, of single samples and of batches; of those of clips up to 10, for their first
#: frames and the others differ.
_MOST_VARIANTS = 64
#: How far results may be from the uncompiled model's: the norm of the difference, as a part of
#: their norm. Rounding is far below; where torch.compile goes wrong, as it does with diffusers'
#: Cosmos (torch 2.13), it is about 1.
_TOLERANCE = {torch.float32: 0.01}
_HALF_TOLERANCE = 0.1

#: Encodes an example; called before and after compiling.
Probe = Callable[[], Sequence[torch.Tensor]]


def compile_model(model: Any, probes: Sequence[Probe], *, what: str, field: str) -> None:
    """Replace ``model.forward`` by its compiled form, and compile it for what the ``probes`` call
    it with.

    Sizes are left open, so others need no other variant; but the numbers may depend, in their last
    bits, on the sizes a variant is made for, which therefore are to be the same in each process of
    a run and when it is resumed. Raises PrepError if compiling fails or a probe gives something
    else than before; ``what`` it is and the recipe's ``field`` are for the message.
    """
    logger.info("compiling the %s, which takes a while", what)
    expected = [probe() for probe in probes]
    model.forward = _compiled(model.forward, what=what, field=field)
    for probe, before in zip(probes, expected, strict=True):
        worst = max(_distance(a, b) for a, b in zip(probe(), before, strict=True))
        if not worst < _TOLERANCE.get(before[0].dtype, _HALF_TOLERANCE):  # NaN is not less
            raise PrepError(
                f"the {what} gives other results when compiled with torch {torch.__version__} "
                f"(they are off by {worst:.2g} of their size): use --set {field}=false"
            )


def _compiled(function: Callable[..., Any], *, what: str, field: str) -> Callable[..., Any]:
    import torch._dynamo.exc
    import torch._inductor.config
    import torch.fx.experimental._config as shape_config

    # Kernels chosen by rule, not by trial on the device: each process is to choose the same.
    by_rule = backend == "inductor" and hasattr(torch._inductor.config, "deterministic")
    failures = (
        torch._dynamo.exc.TorchDynamoException,
        torch._dynamo.exc.FailOnRecompileLimitHit,
        # of the compiler's own bugs, as with diffusers' HunyuanVideo 1.5 (torch 2.13)
        AssertionError,
        subprocess.SubprocessError,
        OSError,
    )
    try:
        fast: Callable[..., Any] = torch.compile(
            function,
            dynamic=True,
            backend=backend,
            options={"deterministic": True} if by_rule else None,
        )
    except RuntimeError as error:  # a Python that it does not support
        raise _uncompilable(error, what, field) from error

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        limits = torch._dynamo.config.patch(
            recompile_limit=_MOST_VARIANTS, fail_on_recompile_limit_hit=True
        )
        # Sides that happen to be equal, a square's, would be taken for one size.
        with limits, shape_config.patch(use_duck_shape=False):  # type: ignore[attr-defined]
            try:
                return fast(*args, **kwargs)
            except failures as error:
                raise _uncompilable(error, what, field) from error

    return run


def _uncompilable(error: Exception, what: str, field: str) -> PrepError:
    cause = getattr(error, "inner_exception", error)
    reason = " ".join(str(cause).split())[:300] or type(cause).__name__
    return PrepError(
        f"the {what} cannot be compiled: {reason} (torch.compile needs a C++ compiler, and "
        f"Triton on CUDA devices); use --set {field}=false"
    )


def _distance(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference, as a part of the norm of what is ``expected``."""
    result, expected = result.float(), expected.float()
    return float((result - expected).norm() / expected.norm().clamp(min=1e-12))
