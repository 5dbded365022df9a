"""How a model's parameters travel in training messages: ``federation.payload``.

Buffers stay float32: they are few, and running variances may exceed what float16 holds.  Whatever travels, the server's
rule judges float32 vectors in the frame of its own model: the update is what the client has added to the model that it
received.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from fedcrucible_core.learning.weights import Weights

_TYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Payload:
    """The types of the parameters ``[d]`` on their ways, and whether clients upload updates rather than models."""

    down: str = "float32"
    up: str = "float32"
    update: bool = False

    def sent(self, weights: Weights) -> Weights:
        """What travels to clients: parameters of the type ``down``; float32 where one of them would overflow."""
        if self.down == "float32":
            return weights
        narrow = weights.parameters.to(_TYPES[self.down])
        return replace(weights, parameters=narrow) if bool(torch.isfinite(narrow).all()) else weights

    def received(self, weights: Weights) -> Weights:
        """What a client makes of it, float32."""
        sent = self.sent(weights)
        return sent if sent is weights else replace(sent, parameters=sent.parameters.float())

    def uploaded(self, trained: Weights, received: Weights) -> Weights:
        """What travels to the server, parameters of the type ``up``; what overflows becomes infinite."""
        own = trained.parameters - received.parameters if self.update else trained.parameters
        return replace(trained, parameters=own.to(_TYPES[self.up]))

    def read(self, parameters: Tensor, sent: Weights, received: Weights) -> Tensor:
        """The client's parameters float32 ``[d]`` in the frame of ``sent``, from an upload of the type ``up``.

        Where the client received ``sent`` itself, its model is what it uploaded, bit for bit.
        """
        wide = parameters.float()
        if self.update:
            return sent.parameters + wide
        return wide if received is sent else sent.parameters + (wide - received.parameters)

    def bytes_down(self, weights: Weights) -> int:
        """Bytes of a model on its way to one client."""
        sent = self.sent(weights)
        return sent.nbytes - sent.parameters.numel() * (4 - sent.parameters.element_size())

    def bytes_up(self, weights: Weights) -> int:
        """Bytes of a client's model on its way to the server."""
        return weights.nbytes - weights.parameters.numel() * (4 - _TYPES[self.up].itemsize)


FLOAT32 = Payload()
PAYLOADS: Mapping[str, Payload] = MappingProxyType(
    {
        "float32": FLOAT32,
        "float16": Payload(down="float16", up="float16"),
        "delta-float16": Payload(up="float16", update=True),
        "float16-delta-float16": Payload(down="float16", up="float16", update=True),
    }
)
"""By the names that ``federation.payload`` has."""
