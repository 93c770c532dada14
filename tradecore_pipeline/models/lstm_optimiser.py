"""AdamW over all weights of a network as one vector: a step is a handful of calls instead of that for every tensor."""

import torch

_GRADIENT_NORM = 1.0


class WholeAdamW:
    """Trains ``network``, whose weights become views of one vector; gradients longer than 1 are shortened to that."""

    def __init__(self, network: torch.nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        weights = list(network.parameters())
        self._whole = torch.nn.Parameter(torch.cat([weight.detach().flatten() for weight in weights]))
        self._gradient = self._whole.grad = torch.zeros_like(self._whole)
        sizes = [weight.numel() for weight in weights]
        views = zip(self._whole.detach().split(sizes), self._gradient.split(sizes), strict=True)
        for weight, (values, gradient) in zip(weights, views, strict=True):
            weight.data, weight.grad = values.view_as(weight), gradient.view_as(weight)
        self._kept = self._whole.detach().clone()
        self._adam = torch.optim.AdamW([self._whole], lr=learning_rate, weight_decay=weight_decay, fused=True)

    def step(self) -> None:
        """One step along the gradients that have gathered since the last one."""
        self._gradient.mul_((_GRADIENT_NORM / self._gradient.norm()).clamp(max=1.0))
        self._adam.step()
        self._gradient.zero_()

    def keep(self) -> None:
        """Remember the weights as they are now."""
        self._kept.copy_(self._whole.detach())

    def go_back(self) -> None:
        """Make the weights those kept last, or those at the beginning."""
        self._whole.detach().copy_(self._kept)
