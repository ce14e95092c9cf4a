"""How far a parameter is from the top of the model, for layer-wise learning-rate decay."""

from collections.abc import Callable

from mobilebert.model.weights import LAYER


def depth_of(num_layers: int) -> Callable[[str], int]:
    """A function from a parameter's name to its depth: heads and pooler 0, the last layer 1, embeddings the most.

    Args:
        num_layers: encoder layers of the model.
    """

    def depth(name: str) -> int:
        if match := LAYER.search(name):
            return num_layers - int(match[1])
        return num_layers + 1 if "embeddings." in name else 0

    return depth
