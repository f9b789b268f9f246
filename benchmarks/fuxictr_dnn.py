"""A DNN put together from FuxiCTR's layers; prints its seconds a step. Runs in its environment.

python fuxictr_dnn.py ROWS.npz VOCABULARIES_JSON
"""

import json
import sys
import tempfile
import time
from collections import OrderedDict

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel

BATCH, WARM_UP = 1024, 20


class DNN(BaseModel):
    """All embeddings side by side into a perceptron of 512-256."""

    def __init__(self, feature_map: FeatureMap, folder: str) -> None:
        super().__init__(feature_map, verbose=0, model_root=folder, metrics=["AUC"])
        self.embedding_layer = FeatureEmbedding(feature_map, 32)
        self.mlp = MLP_Block(
            input_dim=32 * feature_map.num_fields, output_dim=1, hidden_units=[512, 256],
            hidden_activations="LeakyReLU", output_activation=self.output_activation,
            dropout_rates=0.5, batch_norm=True,
        )  # fmt: skip
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs: dict) -> dict:
        """Return the probabilities."""
        embedded = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.mlp(embedded)}


def feature_map(columns: list[str], sizes: dict[str, int], folder: str) -> FeatureMap:
    """FuxiCTR's description of the columns."""
    found = FeatureMap("shape", folder)
    tables = {"user": "users", "item": "items", "context": "impressions", "event": "items"}
    for column in columns:
        role, name = column.split("_", 1)
        size = sizes[f"{tables[role]}.{name}"]
        spec = {"source": role, "type": "categorical", "vocab_size": size, "padding_idx": 0}
        if role == "event":
            spec |= {"type": "sequence", "max_len": 100, "share_embedding": f"item_{name}",
                     "feature_encoder": "layers.MaskedSumPooling()"}  # fmt: skip
        found.features[column] = spec
    found.features = OrderedDict(found.features)
    found.labels, found.num_fields = ["label"], len(columns)
    return found


def main() -> None:
    """Take all steps, time those after the warm-up."""
    rows, sizes = np.load(sys.argv[1]), json.loads(sys.argv[2])
    columns = [name for name in rows.files if name != "labels"]
    data = {name: torch.from_numpy(rows[name]) for name in columns}
    data["label"] = torch.from_numpy(rows["labels"])
    with tempfile.TemporaryDirectory() as folder:
        model = DNN(feature_map(columns, sizes, folder), folder).train()
        model._max_gradient_norm = 10.0
        batches = len(data["label"]) // BATCH
        for number in range(batches):
            if number == WARM_UP:
                started = time.perf_counter()
            part = slice(number * BATCH, (number + 1) * BATCH)
            model.train_step({name: values[part] for name, values in data.items()})
    print((time.perf_counter() - started) / (batches - WARM_UP))


if __name__ == "__main__":
    main()
