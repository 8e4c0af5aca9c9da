"""How values are cut down and written: summaries of tensors, safetensors with F64 data, JSON with one line per entry."""
import json
import pathlib

import numpy as np
from safetensors.numpy import load, save

FOLDER = pathlib.Path(__file__).resolve().parent


def flat(values):
    """Row-major f64 copy of a tensor or array."""
    values = values.detach().double().numpy() if hasattr(values, "detach") else np.asarray(values, np.float64)
    return np.ascontiguousarray(values).reshape(-1)


def summary(values, entries):
    """[Euclidean norm, sum, entries]: the entries lie at 0, s, 2s, ... of the row-major values, s = len // entries."""
    values = flat(values)
    if len(values) < entries:
        raise SystemExit(f"store: {len(values)} values are too few for {entries} entries")
    stride = len(values) // entries
    return np.concatenate([[np.sqrt(np.dot(values, values)), values.sum()], values[: entries * stride : stride]])


def summaries(tensors, entries):
    """One row per tensor."""
    return np.stack([summary(t, entries) for t in tensors])


def write_tensors(name, tensors):
    """Safetensors in ascending order of name within a type: the same values give the same bytes."""
    (FOLDER / name).write_bytes(save({k: np.ascontiguousarray(tensors[k]) for k in sorted(tensors)}))


def beside(name, only, tensors, rows):
    """The file's values with those of one method in place of its old ones: the others keep every bit."""
    kept = load((FOLDER / f"{name}.safetensors").read_bytes())
    kept = {key: value for key, value in kept.items() if not key.startswith(f"{only}/")}
    others = json.loads((FOLDER / f"{name}.json").read_text())["trajectories"]
    return kept | tensors, [row for row in others if row["method"] != only] + rows


def write_json(name, sections):
    """An object of sections; a list gets one line per entry. Floats are written so that they read back exactly."""
    lines = []
    for key, value in sections.items():
        rows = [json.dumps(v, allow_nan=False) for v in value] if isinstance(value, list) else None
        body = "[\n" + ",\n".join(rows) + "\n]" if rows else json.dumps(value, allow_nan=False)
        lines.append(f"{json.dumps(key)}: {body}")
    (FOLDER / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")
