"""rslad in Python: label sets as NumPy arrays, `distill`'s views in a PyTorch loop, and its students as modules.

`LabelSet` needs NumPy alone. `rslad.torch`, `rslad.zoo`, `load` and `robustbench` need PyTorch, `push` and `pull`
huggingface_hub. The binaries `label` and `distill` come with the wheel.
"""
from .hub import pull, push
from .labels import Augmentation, LabelSet, LabelSetError, image_hashes

__all__ = ["Augmentation", "LabelSet", "LabelSetError", "image_hashes", "load", "pull", "push", "robustbench"]


def load(path):
    """A student that `distill` wrote (`student.safetensors`, `best.safetensors`), as a PyTorch module in evaluation mode.

    Refuses a student of an ONNX graph: `rslad.zoo` has no such module.
    """
    import json

    try:
        from safetensors import safe_open

        from . import zoo
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed\nhint: pip install torch safetensors") from error

    with safe_open(path, framework="pt") as file:
        said = json.loads((file.metadata() or {}).get("rslad", "null"))
        if "graph" in (said or {}):
            raise ValueError(f"{path}: a student of an ONNX graph, {said['architecture']}, of which there is no module here\n"
                             "hint: `distill export RUN --to torch` writes one")
        values = {name: file.get_tensor(name) for name in file.keys()}
    if said is None:
        raise ValueError(f"{path}: does not say its architecture\nhint: zoo.build(NAME).load_state_dict(..) loads it")
    channels, height, width = said["input"]
    if height != width:
        raise ValueError(f"{path}: made for images of {height}x{width}; the modules here take squares")
    network = zoo.build(said["architecture"], channels, height, said["classes"])
    network.load_state_dict(values)
    return network.eval()


def robustbench(name, dataset="cifar10", threat="Linf"):
    """A network of RobustBench's zoo, as a module in evaluation mode: a teacher for `tools/label_with_pytorch.py`."""
    try:
        from robustbench.utils import load_model
    except ImportError as error:
        raise ImportError("robustbench is not installed\nhint: pip install git+https://github.com/RobustBench/robustbench") from error
    return load_model(model_name=name, dataset=dataset, threat_model=threat).eval()
