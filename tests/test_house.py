"""The house is what docs/house.md says: its rooms, layers, caps and dependencies, and what its texts speak of."""

import ast
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import leonids

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "leonids"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

FILE_LINES, FUNCTION_LINES = 400, 60

HEAVY = {"torch", "transformers", "numpy", "scipy", "matplotlib"}

STANDARD_ONLY = {"universe", "records", "digest", "errors", "ledger/verify", "ledger/chains", "ledger/lines"}
"""Rooms and modules that import the standard library alone; LIGHT is what their surroundings may add."""

LIGHT = {"digest": {"rfc8785"}, "ledger": {"filelock", "rfc8785"}}

ROOM_LIBRARIES: dict[str, set[str]] = {
    **{room: set() for room in ("universe", "records", "errors")},
    **LIGHT,
    "ledger": {*LIGHT.get("ledger", set()), "rfc3161_client", "cryptography"},
    "stats": {"numpy", "scipy"},
    "claims": {"numpy", "scipy", "pydantic_core"},
    "floor": {"numpy", "scipy", "tokenizers", "safetensors", "platformdirs", "huggingface_hub"},
    "spec": {"pydantic", "ruamel"},
    "gym": {"reasoning_gym"},
    "launch": {"psutil", "ray"},
    "study": {"msgspec", "numpy", "pydantic"},
    "report": {"numpy", "matplotlib", "jinja2", "markdown_it", "rich"},
    "web": {"starlette", "uvicorn", "jinja2", "markdown_it", "numpy"},
    "readers": {"numpy"},
    "cli": {"typer", "rich"},
    "train": {
        *("torch", "transformers", "peft", "trl", "accelerate", "datasets", "safetensors", "gguf", "tokenizers"),
        *("pyarrow", "numpy", "platformdirs", "filelock", "huggingface_hub", "pydantic"),
    },
}
"""The libraries a room may import beside the standard one. A new library needs a row here and in pyproject.toml."""

PURE = ("records", "digest", "errors", "universe", "floor", "stats", "claims", "spec")

BASES_OF_RECORDS = {
    *("Protocol", "Generic", "Exception", "ValueError", "LeonidsError"),
    *("NamedTuple", "TypedDict", "Enum", "StrEnum", "BaseModel", "Model"),
}
"""What a class may inherit from: types and empty bases, never another class's behaviour."""

FRAMEWORK_BASES = {"train": {"Module", "Linear", "Function", "Dataset", "IterableDataset", "TrainerCallback"}}
"""Rooms in which a framework leaves no other way than to subclass."""

MACHINE = re.compile(r"/root/|/work/|/home/\w|/Users/\w|/opt/wheels|\b[A-Z]:\\Users")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|download\.pytorch\.org|deb\.debian\.org")
LEFT_OVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")


def tracked() -> tuple[Path, ...]:
    """Every text file that is or will be in the repository."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
        paths = [ROOT / name for name in names if name]
    else:
        paths = [path for path in ROOT.rglob("*") if ".venv" not in path.parts]
    return tuple(path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:8192])


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def modules(*rooms: str) -> tuple[tuple[Path, ast.Module], ...]:
    """The source files of ``rooms`` (of all rooms when none is named), parsed."""
    paths = (path for path in sorted(SOURCE.rglob("*.py")) if not rooms or room_of(path) in rooms)
    return tuple((path, ast.parse(path.read_text("utf-8"))) for path in paths)


def imported(tree: ast.Module) -> set[str]:
    """The top-level names of everything a module imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def third_party(tree: ast.Module) -> set[str]:
    return imported(tree) - set(sys.stdlib_module_names) - {"leonids"}


def place(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{node.lineno}" if hasattr(node, "lineno") else "")


def ruff(*rules: str) -> str:
    command = [sys.executable, "-m", "ruff", "check", "--select", ",".join(rules), "--output-format", "concise", "src"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


# --- rooms and layers


def drawn_tree() -> dict[str, set[str]]:
    """The rooms drawn in docs/house.md: ``{room: modules named in it}``, a module's own room being empty."""
    page = (ROOT / "docs" / "house.md").read_text("utf-8")
    drawing = page[page.index("src/leonids/") : page.index("└── tests/")].splitlines()[1:]
    rooms: dict[str, set[str]] = {}
    room = ""
    for line in drawing:
        branch = re.match(r"(│   (?:[│ ]   )?)[├└]── (\S+)", line)
        if branch is None:
            continue
        name = branch[2].rstrip("/")
        if branch[1] == "│   ":
            room = name.removesuffix(".py")
            rooms[room] = set()
        elif name.endswith(".py"):
            rooms[room].add(name)
    return rooms


def built_tree() -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        inside = path.relative_to(SOURCE)
        names = rooms.setdefault(room_of(path), set())
        if len(inside.parts) > 1 and path.name != "__init__.py":
            names.add("/".join(inside.parts[1:]))
    return rooms


def layers() -> list[str]:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    return next(contract["layers"] for contract in contracts if contract["type"] == "layers")


def test_docs_house_draws_every_room_and_module_and_no_other() -> None:
    drawn, built = (
        {f"{room}/{name}" for room in tree for name in ("", *tree[room])} for tree in (drawn_tree(), built_tree())
    )
    not_drawn, not_built = sorted(built - drawn), sorted(drawn - built)
    assert (not_drawn, not_built) == ([], [])


def test_imports_only_go_down() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    result = subprocess.run(
        [*command, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_layer_is_optional_only_while_its_room_is_not_built() -> None:
    tails = [tail.strip() for layer in layers() for tail in layer.split("|")]
    optional = {tail.strip("()") for tail in tails if tail.startswith("(")}
    missing = {tail.strip("()") for tail in tails} - set(built_tree())
    assert optional == missing


def test_docs_house_shows_the_layers_that_are_checked() -> None:
    shown = re.search(r"```\n(cli\n.*?)```", (ROOT / "docs" / "house.md").read_text("utf-8"), re.DOTALL)
    assert shown is not None
    assert shown[1].split("\n")[:-1] == [re.sub(r"[()]", "", layer) for layer in layers()]


# --- caps and shapes


def test_no_file_is_longer_than_the_cap() -> None:
    long = {
        place(p): n for p in tracked() if p.suffix == ".py" and (n := len(p.read_bytes().splitlines())) > FILE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_the_cap() -> None:
    def functions() -> Iterator[tuple[str, int]]:
        for path in (path for path in tracked() if path.suffix == ".py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{place(path, node)} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1

    assert {name: lines for name, lines in functions() if lines > FUNCTION_LINES} == {}


def test_functions_stay_simple_and_public_ones_are_documented() -> None:
    caps = PROJECT["tool"]["ruff"]["lint"]
    assert (caps["mccabe"]["max-complexity"], caps["pylint"]["max-args"]) == (10, 7)
    assert ruff("C901", "PLR0913", "D100", "D101", "D102", "D103", "D104") == "All checks passed!\n"


def called(node: ast.expr) -> str:
    """The last name of a decorator or base: ``dataclass`` of ``@dataclasses.dataclass(frozen=True)``."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_every_dataclass_that_leaves_its_module_is_frozen_and_slotted() -> None:
    loose = []
    for path, tree in modules():
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name[0] != "_"):
            marks = (mark for part in node.body if isinstance(part, ast.FunctionDef) for mark in part.decorator_list)
            wanted = {"frozen"} if any(called(mark) == "cached_property" for mark in marks) else {"frozen", "slots"}
            for decorator in (decorator for decorator in node.decorator_list if called(decorator) == "dataclass"):
                keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
                given = {word.arg for word in keywords if isinstance(word.value, ast.Constant) and word.value.value}
                loose += [f"{place(path, node)} {node.name}"] if wanted - given else []
    assert loose == []


def test_no_class_inherits_another_ones_behaviour() -> None:
    heirs = []
    for path, tree in modules():
        allowed = BASES_OF_RECORDS | FRAMEWORK_BASES.get(room_of(path), set())
        for node in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            heirs += [
                f"{place(path, node)} {node.name}({b})" for base in node.bases if (b := called(base)) not in allowed
            ]
    assert heirs == []


# --- dependencies


def test_a_room_imports_only_the_libraries_it_is_allowed() -> None:
    extra = {
        place(path): libraries
        for path, tree in modules()
        if (libraries := third_party(tree) - ROOM_LIBRARIES.get(room_of(path), set()))
    }
    assert extra == {}


def test_what_must_run_alone_imports_the_standard_library_alone() -> None:
    for path, tree in modules():
        name = path.relative_to(SOURCE).with_suffix("").as_posix()
        if name in STANDARD_ONLY or name.split("/")[0] in STANDARD_ONLY:
            assert third_party(tree) <= LIGHT.get(name, set()), place(path)


def test_the_shipped_verifier_needs_nothing_of_leonids_but_its_parts() -> None:
    parts = ["lines", "chains", "verify"]
    for number, part in enumerate(parts):
        path = SOURCE / "ledger" / f"{part}.py"
        tree = ast.parse(path.read_text("utf-8"))
        froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        before = {f"leonids.ledger.{name}" for name in parts[:number]}
        assert {name for name in froms if name.startswith("leonids")} <= before, place(path)


def test_every_library_that_is_imported_is_declared() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}

    core = names(PROJECT["project"]["dependencies"])
    extras = {extra: names(listed) for extra, listed in PROJECT["project"]["optional-dependencies"].items()}
    distributions = {
        "ruamel": "ruamel.yaml",
        "markdown_it": "markdown-it-py",
        "huggingface_hub": "huggingface-hub",
        "pydantic_core": "pydantic",
        "rfc3161_client": "rfc3161-client",
        "reasoning_gym": "reasoning-gym",
    }
    extra_of = {"launch": "ray", "ledger": "anchors", "gym": "reasoning-gym"}
    undeclared = {}
    for path, tree in modules():
        declared = core | extras.get(extra_of.get(room_of(path), room_of(path)), set())
        needed = {distributions.get(name, name) for name in third_party(tree)}
        if needed - declared:
            undeclared[place(path)] = needed - declared
    assert undeclared == {}


def test_pure_rooms_know_no_clock_throw_no_dice_and_print_nothing() -> None:
    impure = []
    for path, tree in modules(*PURE):
        impure += [f"{place(path)} imports {name}" for name in imported(tree) & {"time", "datetime", "secrets", "uuid"}]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "random" and node.attr != "Random":
                impure.append(f"{place(path, node)} uses the global generator")
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                impure.append(f"{place(path, node)} prints")
    assert impure == []


def test_help_loads_no_heavy_library(capsys: pytest.CaptureFixture[str]) -> None:
    code = f"""if True:
        import sys
        from leonids.cli import main
        sys.argv = ["leonids", "--help"]
        try:
            main()
        finally:
            print(*sorted({HEAVY!r} & set(sys.modules)), sep="\\n", file=sys.stderr)
    """
    start = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    elapsed_s = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nleonids --help: {elapsed_s * 1000:.0f} ms with the interpreter's own start")
    assert (result.returncode, result.stderr.split()) == (0, []), result.stderr
    assert "Usage" in result.stdout


# --- public names and texts


def test_every_public_name_resolves_to_what_type_checkers_are_told() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text("utf-8"))
    told = {
        alias.asname: f"{node.module}:{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("leonids.")
        for alias in node.names
    }
    assert told == leonids._PUBLIC
    for name, target in leonids._PUBLIC.items():
        module, attribute = target.split(":")
        assert getattr(leonids, name) is getattr(import_module(module), attribute)
    assert set(leonids.__all__) == {"__version__", *told} <= set(dir(leonids))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        _ = leonids.anything


def test_importing_leonids_loads_no_room() -> None:
    code = "import sys, leonids; print(*(name for name in sys.modules if name.startswith('leonids.')))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize(
    ("what", "pattern"), [("a machine's path", MACHINE), ("a registry", REGISTRY), ("unfinished", LEFT_OVER)]
)
def test_texts_speak_of_the_project_alone(what: str, pattern: re.Pattern[str]) -> None:
    found = [
        f"{place(path)}:{number}: {what}: {line.strip()[:80]}"
        for path in tracked()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
