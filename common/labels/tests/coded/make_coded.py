"""Writes coded.safetensors: rows of logits, and what a label set that does not store every logit must make of them.

    python common/labels/tests/coded/make_coded.py

Everything is computed in float64 by PyTorch, after docs/label-set.md and not after the program. Rows of 1,000 classes are like a
robust teacher's: soft, so that the largest few hold a part of the mass alone.
"""
import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(20261127)
CLASSES, ROWS = 1000, 10
# Of normal logits: their largest probability is then .18 in the mean.
SPREAD = 2.45


def robust_rows():
    """(ROWS, CLASSES) f32; the first and the last three as they are, the others at the edges of what a teacher may say."""
    rows = SPREAD * torch.randn(ROWS, CLASSES)
    rows[1] += 40.0
    rows[2] *= 8.0
    rows[3] = (rows[3] * 4).round() / 4
    rows[4] = 0.5
    rows[5, 700:] = rows[5].max()
    rows[6] *= 0.01
    # One ulp apart: alike as f16, and as codes.
    rows[7, 10] = rows[7].max() + 1
    rows[7, 3] = torch.nextafter(rows[7, 10], torch.tensor(0.0))
    return rows


def kl(wanted, found):
    """KL of the softmax of `found` from that of `wanted`, one value a row, in nats."""
    log = [torch.log_softmax(logits.double(), 1) for logits in (wanted, found)]
    return torch.nn.functional.kl_div(log[1], log[0], reduction="none", log_target=True).sum(1)


def first(logits):
    """The first of the largest: PyTorch's argmax does not say which."""
    return (logits == logits.amax(1, keepdim=True)).int().argmax(1)


def cost(logits, read):
    assert torch.equal(first(logits.double()), first(logits))
    return {"kl": kl(logits, read), "turned": (first(logits) != first(read)).to(torch.uint8)}


def largest(logits, count, dtype):
    """The count largest as this dtype, their classes, the logit of every other class, and the logits that these say."""
    _, order = torch.sort(logits, dim=1, descending=True, stable=True)
    kept, others = order[:, :count], order[:, count:]
    stored = logits.gather(1, kept).to(dtype).float()
    rest = torch.logsumexp(logits.gather(1, others).double(), 1) - torch.log(torch.tensor(float(others.shape[1])).double())
    rest = torch.minimum(rest.float(), stored[:, -1])
    # From the largest stored value down, of equals by class.
    kept, place = kept.sort(1)
    values, by = stored.gather(1, place).sort(dim=1, descending=True, stable=True)
    kept = kept.gather(1, by)
    read = rest[:, None].repeat(1, logits.shape[1]).scatter(1, kept, values)
    return {"logits": values.to(dtype), "classes": kept.to(torch.int32), "rest": rest, "read": read, **cost(logits, read)}


def codes(logits):
    """Codes of eight bits, the logit of code 0, logits from code to code, and the logits that these say."""
    low, high = logits.amin(1), logits.amax(1)
    scale = ((high.double() - low.double()) / 255).float()
    steps = (logits.double() - low.double()[:, None]) / scale.double()[:, None]
    found = torch.where(scale[:, None] > 0, steps.round(), torch.zeros_like(steps)).clamp(0, 255)
    before = torch.arange(logits.shape[1])[None] < first(logits)[:, None]
    found = torch.where(before, found.clamp(max=254), found)
    read = low[:, None] + scale[:, None] * found.float()
    return {"codes": found.to(torch.uint8), "low": low, "scale": scale, "read": read, **cost(logits, read)}


def figures(rows=2000):
    """What the largest alone, and codes, lose of rows as soft as a robust teacher's: printed, for docs/growing.md."""
    logits = SPREAD * torch.randn(rows, CLASSES)
    print(f"{rows} rows, largest probability {torch.softmax(logits, 1).amax(1).mean().item():.3f} in the mean")
    made = {f"top-{count} f16": largest(logits, count, torch.float16) for count in (10, 50, 64, 100, 200)}
    for name, columns in {**made, "u8": codes(logits)}.items():
        lost = columns["kl"]
        print(f"{name:12} KL {lost.mean().item():.3g} nats a row, {lost.max().item():.3g} at most, {columns['turned'].sum().item()} turned")


def main():
    logits = robust_rows()
    made = {"u8": codes(logits)}
    for count, name, dtype in ((10, "f16", torch.float16), (64, "f16", torch.float16), (64, "f32", torch.float32), (999, "f32", torch.float32)):
        made[f"top-{count}-{name}"] = largest(logits, count, dtype)
    tensors = {"logits": logits}
    for coding, columns in made.items():
        tensors |= {f"{coding}.{name}": column.contiguous() for name, column in columns.items() if name != "read"}
        print(coding, [f"{lost:.3g}" for lost in columns["kl"].tolist()], "turned", columns["turned"].tolist())
    save_file(tensors, pathlib.Path(__file__).parent / "coded.safetensors")
    figures()


if __name__ == "__main__":
    main()
