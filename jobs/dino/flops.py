"""Count the operations of a training, to say how well a device is used."""

from itertools import pairwise

from jobs.dino.config import Config


def flops_per_window(config: Config, width: int, depth: int) -> float:
    """Return the floating-point operations that training takes for one window, all its views.

    Parameters
    ----------
    config
        Views and head.
    width, depth
        Of the network.

    Returns
    -------
    float
        Multiplications and additions count one each. A block takes ``24 * width**2`` for a token and
        ``4 * n_tokens * width`` for its attention; the student is run forward and backward, which counts
        three times, the teacher forward (its global views only). Norms, softmaxes and the optimiser are left out.
    """

    def of_view(size: tuple[int, int]) -> float:
        n_patches = (size[0] // config.patch_size[0]) * (size[1] // config.patch_size[1])
        n_tokens = n_patches + 1 + config.n_registers
        embedding = 2.0 * n_patches * config.patch_size[0] * config.patch_size[1] * width
        return embedding + depth * n_tokens * (24.0 * width**2 + 4.0 * n_tokens * width)

    sizes = [width, *[config.head_hidden] * (config.head_layers - 1), config.head_bottleneck, config.n_prototypes]
    head = sum(2.0 * a * b for a, b in pairwise(sizes))
    n_patches = (config.global_size[0] // config.patch_size[0]) * (config.global_size[1] // config.patch_size[1])
    masked = n_patches * config.ibot_share * sum(config.ibot_mask) / 2 if config.ibot_weight else 0.0
    of_global = of_view(config.global_size) + head * (1 + masked)
    of_local = of_view(config.local_size) + head
    return 4.0 * config.n_global * of_global + 3.0 * config.n_local * of_local
