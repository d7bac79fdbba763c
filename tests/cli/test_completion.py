"""The printed script completes what the parser knows, in a real shell."""

import shutil
import subprocess
import sys

import pytest


def printed(shell: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snnconvert", "--print-completion", shell],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "snnconvert.bash"
    path.write_text(printed("bash"))
    return path


def completed(script, folder, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f"""
        source '{script}'
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        _shtab_snnconvert 2> /dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_options_choices_and_files(script, tmp_path):
    (tmp_path / "network.pt").touch()
    assert completed(script, tmp_path, "snnconvert", "sa") == {"sample"}
    assert completed(script, tmp_path, "snnconvert", "convert", "--time") == {"--timesteps"}
    assert completed(script, tmp_path, "snnconvert", "convert", "--code", "ra") == {"rate", "radix"}
    assert completed(script, tmp_path, "snnconvert", "convert", "netw") == {"network.pt"}
    assert completed(script, tmp_path, "snnconvert", "sample", "x.pt", "--out", "netw") == {
        "network.pt"
    }
    assert "ddim" in completed(script, tmp_path, "snnconvert", "sample", "--solver", "dd")


def test_another_shell_has_a_script_of_its_own():
    assert "#compdef snnconvert" in printed("zsh")
