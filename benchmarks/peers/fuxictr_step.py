"""Seconds a step of FuxiCTR: its DIN, or a DNN put together from its layers.

python fuxictr_step.py DNN|DIN ROWS.npz VOCABULARIES_JSON
"""

import tempfile
from collections import OrderedDict

import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.layers import FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel
from model_zoo.LongCTR.DIN.DIN import DIN
from rows import DIM, EVENT_FIELDS, Rows, arguments, time_steps


class DNN(BaseModel):
    """All embeddings side by side into a perceptron of 512-256."""

    def __init__(self, feature_map: FeatureMap, folder: str) -> None:
        super().__init__(feature_map, verbose=0, model_root=folder, metrics=["AUC"])
        self.embedding_layer = FeatureEmbedding(feature_map, DIM)
        self.mlp = MLP_Block(
            input_dim=DIM * feature_map.num_fields, output_dim=1, hidden_units=[512, 256],
            hidden_activations="LeakyReLU", output_activation=self.output_activation,
            dropout_rates=0.5, batch_norm=True,
        )  # fmt: skip
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs: dict) -> dict:
        """Return the probabilities."""
        embedded = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
        return {"y_pred": self.mlp(embedded)}


def feature_map(sizes: dict[str, int], folder: str, *, pools_events: bool) -> FeatureMap:
    """FuxiCTR's description of the columns; DIN's events are looked up as items."""
    found = FeatureMap("shape", folder)
    features = OrderedDict()
    for column, size in sizes.items():
        role, name = column.split("_", 1)
        if role == "event" and not pools_events:
            continue
        is_shared = role == "item" and name in EVENT_FIELDS and not pools_events
        spec = {"source": "item" if is_shared else role, "type": "categorical", "vocab_size": size,
                "padding_idx": 0}  # fmt: skip
        if role == "item" and not pools_events and not is_shared:
            spec["source"] = "ad"
        if role == "event":
            spec |= {"type": "sequence", "max_len": 100, "share_embedding": f"item_{name}",
                     "feature_encoder": "layers.MaskedSumPooling()"}  # fmt: skip
        features[column] = spec
    found.features, found.labels = features, ["label"]
    found.num_fields, found.default_emb_dim = len(features), DIM
    return found


def dnn_batch(rows: Rows, columns: list[str]) -> Rows:
    """What a model of FuxiCTR's takes: its features and the label, and nothing else."""
    return {name: rows[name] for name in columns} | {"label": rows["labels"]}


def din_batch(rows: Rows, columns: list[str]) -> tuple[Rows, Rows, torch.Tensor]:
    """What FuxiCTR's DIN takes: fields, events with the target behind them, and a mask."""
    shared = [f"item_{name}" for name in EVENT_FIELDS]
    fields = {name: rows[name] for name in columns if name not in shared}
    items = {
        f"item_{name}": torch.cat([rows[f"event_{name}"], rows[f"item_{name}"][:, None]], 1)
        for name in EVENT_FIELDS
    }
    items = {name: ids.flatten() for name, ids in items.items()}
    mask = torch.arange(100) < rows["lengths"][:, None]
    return {**fields, "label": rows["labels"]}, items, mask


def main() -> None:
    """Train, and print seconds and memory."""
    name, rows, sizes = arguments()
    with tempfile.TemporaryDirectory() as folder:
        described = feature_map(sizes, folder, pools_events=name == "DNN")
        if name == "DNN":
            model = DNN(described, folder).train()
            prepare = lambda part: dnn_batch(part, list(described.features))  # noqa: E731
        else:
            model = DIN(
                described, dnn_hidden_units=[512, 256], dnn_activations="LeakyReLU",
                attention_hidden_units=[64], attention_hidden_activations="PReLU",
                embedding_dim=DIM, net_dropout=0.5, batch_norm=True, optimizer="adam",
                loss="binary_crossentropy", metrics=["AUC"], verbose=0, model_root=folder,
            ).train()  # fmt: skip
            model._batch_index = 0
            prepare = lambda part: din_batch(part, list(described.features))  # noqa: E731
        model._max_gradient_norm = 10.0
        time_steps(rows, lambda part: model.train_step(prepare(part)))


if __name__ == "__main__":
    main()
