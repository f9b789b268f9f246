"""Seconds of FuxiCTR's gAUC.

python fuxictr_gauc.py IMPRESSIONS.npz
"""

import json
import sys
import time

import numpy as np
from fuxictr.metrics import evaluate_metrics


def main() -> None:
    """Measure once: it takes a minute."""
    data = np.load(sys.argv[1])
    started = time.perf_counter()
    found = evaluate_metrics(data["labels"], data["scores"], ["gAUC"], data["users"])
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "gauc": float(found["gAUC"])}))


if __name__ == "__main__":
    main()
