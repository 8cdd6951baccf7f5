"""Makes jaxcnn/models/costs.csv: parameters and multiply-adds of our own models.

Command: python tests/golden/make_costs.py
"""

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))


def main():
    from jaxcnn import models
    from jaxcnn.models.figures import measure

    path = ROOT / "jaxcnn" / "models" / "costs.csv"
    rows = [(name, *measure(name)) for name in models.names()]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([("name", "parameters", "multiply_adds"), *rows])
    print(path, len(rows), "models")


if __name__ == "__main__":
    main()
