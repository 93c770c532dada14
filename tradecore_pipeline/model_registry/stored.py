"""A model's files: JSON, npz and safetensors in one folder. Nothing here can run code when it is read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

ModelKind = Literal["hmm", "har", "lstm", "indicator_params"]
Arrays = Mapping[str, npt.NDArray[Any]]

HMM: ModelKind = "hmm"
"""The regime model."""

CONFIG = "config.json"
ARRAYS = "arrays.npz"
TENSORS = "tensors.safetensors"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a fit left behind: enough to predict again, bit for bit."""

    kind: ModelKind
    timeframe: str
    config: Mapping[str, Any]
    """What the model says of itself beside its arrays; JSON values."""
    arrays: Arrays
    tensors: Arrays | None
    """A network's weights by name, where there is a network."""
    run_id: str = ""
    """The MLflow run it was read from; empty before it is logged."""
    version: int = 0
    """Its version under the registered name; 0 before it is registered."""

    def write(self, folder: Path) -> None:
        """Write the files into ``folder``, which is created.

        Raises:
            TypeError: an array holds Python objects, which only a pickle could store.
        """
        _require_plain(self.arrays)
        folder.mkdir(parents=True)
        document = {"kind": self.kind, "timeframe": self.timeframe, "config": self.config}
        (folder / CONFIG).write_text(json.dumps(document, sort_keys=True, indent=1))
        np.savez(folder / ARRAYS, allow_pickle=False, **self.arrays)
        if self.tensors is not None:
            from safetensors.numpy import save_file  # noqa: PLC0415 (only networks need it)

            save_file({name: np.ascontiguousarray(tensor) for name, tensor in self.tensors.items()}, folder / TENSORS)

    @classmethod
    def read(cls, folder: Path, *, run_id: str = "", version: int = 0) -> "StoredModel":
        """The model that ``write`` wrote into ``folder``."""
        document = json.loads((folder / CONFIG).read_text())
        # Opened here: numpy leaves a torn file open.
        with (folder / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        tensors = None
        if (folder / TENSORS).exists():
            from safetensors.numpy import load_file  # noqa: PLC0415 (only networks need it)

            tensors = load_file(folder / TENSORS)
        return cls(document["kind"], document["timeframe"], document["config"], arrays, tensors, run_id, version)

    def digest(self) -> str:
        """SHA-256 of kind, timeframe, config, arrays and tensors: equal for equal models."""
        document = {"kind": self.kind, "timeframe": self.timeframe, "config": self.config}
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
        for arrays in (self.arrays, self.tensors or {}):
            for name in sorted(arrays):
                array = np.ascontiguousarray(arrays[name])
                digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


def read_config(path: Path) -> Mapping[str, Any]:
    """What the model whose ``CONFIG`` file this is says of itself beside its arrays."""
    return json.loads(path.read_text())["config"]


def _require_plain(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects: store numbers here and the rest in config")
