"""Writes a trained model as one ONNX file with a free batch size and sequence length."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from transformers import Cache, PreTrainedModel
from transformers.exporters.configs import OnnxConfig
from transformers.exporters.exporter_onnx import OnnxExporter

from anneal_api.errors import ModelNotFound
from anneal_api.published import CodecSettings
from anneal_trainer.quiet import quiet_output

_TRACE_ROWS = 2
_TRACE_TOKENS = 16
_LONGEST_REASON = 200

_logger = logging.getLogger(__name__)


def export_onnx(model: PreTrainedModel, codec: CodecSettings, path: Path) -> None:
    """Writes a model's computation in fp32.

    Args:
        model: The trained model; one that reads its last token was told where that is (`read_last_token`).
        codec: Names the inputs; the graph has exactly these, int64 [rows, tokens], and the output `logits`.
        path: The `.onnx` file; weights are inside it.

    Raises:
        ModelNotFound: The model has operations that ONNX cannot express.
    """
    shape = (_TRACE_ROWS, _TRACE_TOKENS)
    model.eval()
    sample: dict[str, torch.Tensor | Cache] = {
        name: torch.ones(shape, dtype=torch.int64)
        if name == "attention_mask"
        else torch.zeros(shape, dtype=torch.int64)
        for name in codec.inputs
    }
    free = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in codec.inputs}
    with tempfile.TemporaryDirectory() as scratch, quiet_output(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about its own internals, release by release
        try:
            exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic=True, dynamic_shapes=free))
            exported.save_pretrained(scratch)
        except Exception as error:  # the layers of the exporter have no common class of errors
            _logger.debug("export failed", exc_info=True)
            raise ModelNotFound(
                f"A model of type {model.config.model_type} cannot be written as ONNX: {_first_sentence(error)}",
                where="spec.model.source",
                remedy="Choose a model of another family; docs/architectures.md has those that are known to work.",
            ) from error
        whole = onnx.load(Path(scratch) / "model.onnx")
    onnx.save_model(whole, path, save_as_external_data=False)


def _first_sentence(error: BaseException) -> str:
    """Returns the beginning of what is often a page: a cause below has the better one."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
