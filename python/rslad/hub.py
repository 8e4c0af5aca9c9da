"""Label sets on the Hugging Face hub, through `huggingface_hub` (`pip install rslad[hub]`)."""
import pathlib

from .labels import LabelSet

_FILES = ["manifest.json", "README.md", "SHA256SUMS", "data/*.parquet", "shards/*.safetensors"]


def push(folder, repository, private=False, token=None):
    """Uploads a label set as the dataset `repository` (`ORG/NAME`): shards first, the manifest last, so that nobody
    finds half of it. Gives the address. The set is checked before anything is sent."""
    from huggingface_hub import HfApi

    LabelSet(folder)
    api = HfApi(token=token)
    address = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
    send = {"folder_path": str(folder), "repo_id": repository, "repo_type": "dataset"}
    api.upload_folder(**send, allow_patterns=_FILES[1:], commit_message="Add the shards of a label set")
    api.upload_folder(**send, allow_patterns=_FILES[:1], commit_message="Add its manifest")
    return str(address)


def pull(repository, folder, revision=None, form="safetensors", token=None):
    """Downloads the dataset `repository` into `folder` and gives it checked. `form` is safetensors, parquet or both."""
    from huggingface_hub import snapshot_download

    wanted = {"safetensors": _FILES[:3] + _FILES[4:], "parquet": _FILES[:4], "both": _FILES}
    if form not in wanted:
        raise ValueError(f"form is {form!r}; wanted safetensors, parquet or both")
    snapshot_download(
        repository, repo_type="dataset", revision=revision, local_dir=folder, allow_patterns=wanted[form], token=token
    )
    return LabelSet(pathlib.Path(folder))
