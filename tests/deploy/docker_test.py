"""The images' recipes: built in stages, pinned, run by a user that is not root, with nothing of the builder left in them.

What a program needs to start is looked up in the program that was built: its shared libraries must come with the image's packages.
"""

import functools
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("TENON_BUILD_BIN", ROOT / "build/release/bin"))
VENV = ROOT / "build/venv"
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


def instructions(path):
    """(word, rest) pairs; continued lines are joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def recipe(request):
    return instructions(request.param)


def last_stage(recipe):
    start = max(i for i, (word, _) in enumerate(recipe) if word == "FROM")
    return recipe[start:]


def test_there_is_one_for_each_program():
    assert [path.stem for path in FILES] == ["client", "server", "worker"]


def test_bases_are_pinned(recipe):
    for word, rest in recipe:
        if word == "FROM":
            image = rest.split()[0]
            assert re.fullmatch(r"debian:\d+\.\d+-slim", image), image


def test_builder_and_product_are_apart(recipe):
    assert sum(word == "FROM" for word, _ in recipe) == 2
    final = last_stage(recipe)
    assert any(word == "COPY" and rest.startswith("--from=build ") for word, rest in final)
    for word, rest in final:
        assert not re.search(r"\S-dev\b", rest) and "g++ " not in rest and "install.sh" not in rest
        assert word != "ADD"
        # The source stays in the builder.
        assert not (word == "COPY" and not rest.startswith("--from="))


def test_runs_as_a_numbered_user_that_is_not_root(recipe):
    users = [rest for word, rest in last_stage(recipe) if word == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[0])
    # A number, so that Kubernetes can check runAsNonRoot.
    words = [word for word, _ in last_stage(recipe)]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")


def test_says_how_healthy_it_is(recipe):
    assert sum(word == "HEALTHCHECK" for word, _ in last_stage(recipe)) == 1


def test_starts_a_program_without_a_shell(recipe):
    for word, rest in recipe:
        if word in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(part, str) for part in json.loads(rest))


def test_package_lists_are_not_kept(recipe):
    for word, rest in recipe:
        if word == "RUN" and "apt-get install" in rest:
            assert "rm -rf /var/lib/apt/lists/*" in rest and "--no-install-recommends" in rest
            assert shlex.split(rest)


def test_what_is_copied_in_is_listed_to_be_left_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"build", ".git"} <= set(ignored)


def output(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout


@functools.cache
def needed(file):
    """Names of the shared libraries that a program or library was linked to."""
    return frozenset(re.findall(r"\(NEEDED\).*\[(.+)\]", output("readelf", "-d", file)))


@functools.cache
def system_libraries():
    """Name to path, of what the loader of this machine finds."""
    return dict(re.findall(r"^\s+(\S+) \(.*\) => (\S+)$", output("/sbin/ldconfig", "-p"), re.MULTILINE)[::-1])


@functools.cache
def package_of(library):
    """The Debian package that brings a library; alternatives (BLAS, LAPACK) are followed to the one that is chosen here."""
    path = pathlib.Path(system_libraries()[library])
    # With /usr merged, a package may list the file under either name.
    for name in (path.resolve(), path, str(path.resolve()).removeprefix("/usr"), str(path).removeprefix("/usr")):
        found = subprocess.run(["dpkg-query", "-S", str(name)], capture_output=True, text=True).stdout
        if found:
            return found.split(":")[0]
    raise AssertionError(f"no package has {path}")


@functools.cache
def depends(package):
    fields = output("dpkg-query", "-W", "-f", "${Pre-Depends}, ${Depends}\n", package).splitlines()[0]
    return [re.split(r"[ :(]", part.strip())[0] for part in re.split(r"[,|]", fields) if part.strip()]


def installed(packages):
    """These packages and all that they depend on, as far as this machine has them."""
    here = set(output("dpkg-query", "-W", "-f", "${Package}\n").split())
    found, left = set(), list(packages)
    while left:
        package = left.pop()
        if package in here and package not in found:
            found.add(package)
            left += depends(package)
    return found


def packages_of_the_image(recipe):
    """Those of debian:12-slim, and those that the last stage installs."""
    names = [name for line in output("dpkg-query", "-W", "-f", "${Package} ${Essential} ${Priority}\n").splitlines()
             for name, essential, priority in [(line + "  ").split(" ")[:3]] if essential == "yes" or priority == "required"]
    for word, rest in last_stage(recipe):
        if word == "RUN" and "apt-get install" in rest:
            arguments = rest.split("apt-get install")[1].split("&&")[0].split()
            names += [argument for argument in arguments if not argument.startswith("-")]
    return installed([*names, "apt"])


def copied_programs(recipe):
    """The programs of the last stage, in this build."""
    names = [pathlib.PurePath(source).name for word, rest in last_stage(recipe) if word == "COPY" and rest.startswith("--from=build ")
             for source in rest.split()[1:-1] if "/bin/" in source]
    return [BIN / name for name in names]


def missing(files, packages, own=()):
    """Libraries of `files` that neither the packages nor the image's `own` libraries have."""
    wanted = {(pathlib.Path(file).name, name) for file in files for name in needed(file)}
    return sorted((file, name, package_of(name) if name in system_libraries() else "") for file, name in wanted
                  if name not in own and (name not in system_libraries() or package_of(name) not in packages))


def take_torch(venv, folder):
    subprocess.run([ROOT / "docker/take_torch.sh", venv, folder], check=True)
    return [path for path in folder.rglob("*.so*") if path.is_file()]


def test_every_program_has_its_libraries(recipe, tmp_path):
    programs = copied_programs(recipe)
    assert programs and all(program.is_file() for program in programs)
    packages = packages_of_the_image(recipe)
    taken = take_torch(VENV, tmp_path) if any("take_torch.sh" in rest for _, rest in recipe) else []
    assert bool(taken) == any(program.name == "tenon-worker" for program in programs)
    # The driver's part of CUDA comes from the machine, with the GPU.
    own = {path.name for path in taken} | {"libcuda.so.1"}
    assert missing(programs + taken, packages, own) == []


def test_a_missing_package_would_be_seen(recipe):
    for program in copied_programs(recipe):
        for package in {"libgrpc++1.51", "libprotobuf32", "libssl3"}:
            assert {found for _, _, found in missing([program], packages_of_the_image(recipe) - {package})} >= {package}


def test_health_is_asked_with_a_program_of_the_image(recipe):
    checks = [rest for word, rest in last_stage(recipe) if word == "HEALTHCHECK" and rest != "NONE"]
    for check in checks:
        program = json.loads(check.split("CMD", 1)[1])[0]
        packages = " ".join(rest for word, rest in last_stage(recipe) if word == "RUN").split()
        assert program in {path.name for path in copied_programs(recipe)} or program in packages, program


def test_all_of_a_cuda_build_is_taken(tmp_path):
    """CUDA's libraries lie in wheels of their own beside torch's."""
    site = tmp_path / "venv/lib/python3.11/site-packages"
    files = ["torch/lib/libtorch_cuda.so", "nvidia/cublas/lib/libcublas.so.12", "nvidia/cu13/lib/libcudart.so.13"]
    for file in [*files, "torch/include/torch.h", "nvidia/cublas/include/cublas.h", "torch/_C.so", "numpy/core.so"]:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(file)
    (site / "nvidia/cublas/lib/libcublas.so").symlink_to("libcublas.so.12")
    take_torch(tmp_path / "venv", tmp_path / "out")
    out = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if not path.is_dir())
    assert out == sorted([*files, "nvidia/cublas/lib/libcublas.so"])
    assert (tmp_path / "out/nvidia/cublas/lib/libcublas.so").read_text() == files[1]


def test_the_loader_is_told_of_every_folder_of_torchs_libraries():
    run = " ".join(rest for word, rest in last_stage(instructions(ROOT / "docker/worker.Dockerfile")) if word == "RUN")
    copied = next(rest.split()[-1] for word, rest in last_stage(instructions(ROOT / "docker/worker.Dockerfile"))
                  if word == "COPY" and "/out/torch" in rest)
    assert f"find {copied} -name '*.so*' -printf '%h" in run and run.rstrip().endswith("&& ldconfig")
