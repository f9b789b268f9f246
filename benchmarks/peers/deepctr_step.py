"""Seconds a step of DeepCTR-Torch: its DIN, or its WDL without the wide part, which is a DNN.

python deepctr_step.py DNN|DIN ROWS.npz VOCABULARIES_JSON
"""

import torch
from deepctr_torch.inputs import SparseFeat, VarLenSparseFeat, build_input_features
from deepctr_torch.models import DIN, WDL
from rows import DIM, EVENT_FIELDS, Rows, arguments, time_steps
from torch.nn import functional as F


def main() -> None:
    """Train, and print seconds and memory."""
    name, rows, sizes = arguments()
    fields = [
        SparseFeat(name, size, embedding_dim=DIM)
        for name, size in sizes.items()
        if not name.startswith("event_")
    ]
    shared = {name: f"item_{name}" for name in EVENT_FIELDS}
    events = [
        VarLenSparseFeat(
            SparseFeat(f"hist_{item}", sizes[item], embedding_dim=DIM, embedding_name=item),
            maxlen=100,
            combiner="sum",
            length_name="lengths",
        )
        for item in shared.values()
    ]
    columns = [*fields, *events]
    # The penalty on whole tables that is on by default would cost a pass over them in each step.
    widths = {"dnn_use_bn": True, "dnn_hidden_units": (512, 256), "dnn_dropout": 0.5,
              "l2_reg_embedding": 0}  # fmt: skip
    if name == "DNN":
        model = WDL([], columns, **widths)
    else:
        model = DIN(
            columns, list(shared.values()), dnn_activation="prelu", att_hidden_size=(64,),
            att_activation="prelu", **widths,
        )  # fmt: skip
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    places = build_input_features(columns)
    rows |= {f"hist_{item}": rows[f"event_{name}"] for name, item in shared.items()}

    def step(part: Rows) -> None:
        inputs = [part[name] if part[name].ndim == 2 else part[name][:, None] for name in places]
        predicted = model(torch.cat(inputs, dim=1).float()).squeeze(1)
        loss = F.binary_cross_entropy(predicted, part["labels"].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    time_steps(rows, step)


if __name__ == "__main__":
    main()
