"""The models, one a file: losses, parameter layout, initial weights, objective, and predictions.

They import `dsgd.data` and what lies below it.
"""

from dsgd.models.kmeans import KMeansModel
from dsgd.models.linear import LinearModel
from dsgd.models.mlp import MLPModel
from dsgd.models.softmax import SoftmaxModel
from dsgd.models.trained import Model

__all__ = ["MODELS", "KMeansModel", "LinearModel", "MLPModel", "Model", "SoftmaxModel"]

MODELS: dict[str, type[Model]] = {
    "linear": LinearModel,
    "softmax": SoftmaxModel,
    "kmeans": KMeansModel,
    "mlp": MLPModel,
}
"""Model classes by kind (`Loss.model`)."""
