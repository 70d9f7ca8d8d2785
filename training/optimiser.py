"""Muon for the convolutions, Adam for the rest.

Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) replaces each momentum matrix by the nearest
orthogonal one, which makes more of each image than plain gradient descent: what counts where images per second are few.
Every convolution is followed by batch normalisation, so its scale means nothing and is held at what it was at the start;
the learning rate is then the relative change per step.
"""

import torch


class Muon(torch.optim.Optimizer):
    """For weights of rank 4, `[out, in, h, w]`."""

    def __init__(self, parameters, lr: float, momentum: float = 0.9):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                    state["norm"] = p.norm()
                state["momentum"].mul_(group["momentum"]).add_(p.grad)
                nesterov = p.grad + group["momentum"] * state["momentum"]
                update = orthogonal(nesterov.flatten(1)).view_as(p)
                p.add_(update * (state["norm"] / update.norm()), alpha=-group["lr"])
                p.mul_(state["norm"] / p.norm())


def orthogonal(matrix: torch.Tensor, iterations: int = 4) -> torch.Tensor:
    """About U·Vᵀ of the singular value decomposition U·S·Vᵀ, by Muon's Newton–Schulz iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
