import json
import os
import subprocess
import sys

import pytest

from pipshpc import cli
from pipshpc.errors import SpecError
from pipshpc.product import load_cards


@pytest.fixture
def pipshpc(capsys):
    """Run the command line in this process; returns exit code, what it printed, what it said of errors."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([str(a) for a in arguments])
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return call


def commands(app=cli.app, path=()):
    for command in app.registered_commands:
        yield (*path, command.name)
    for group in app.registered_groups:
        callback = group.typer_instance.registered_callback
        if callback is not None and callback.invoke_without_command is True:  # else it only holds commands
            yield (*path, group.name)
        yield from commands(group.typer_instance, (*path, group.name))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_explains_itself_with_an_example(pipshpc, words):
    code, out, _ = pipshpc(*words, "--help")
    assert code == 0
    assert f"Example: pipshpc {words[0]}" in " ".join(out.split())
    assert "--json" in out
    # One sentence that stands in the list of commands without being cut.
    assert len(out.split("\n\n")[1].strip()) < 60


def test_help_comes_at_once():
    code = "import sys, time; t = time.perf_counter(); import pipshpc.cli; print(time.perf_counter() - t, *sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "h5py", "matplotlib", "parsl", "mpi4py", "pystac", "rich", "yaml", "msgspec"}
    assert not heavy & set(found)
    assert float(found[0]) < 0.3


def test_products_are_listed(pipshpc):
    code, out, _ = pipshpc("products")
    assert code == 0
    lines = out.splitlines()
    for card in load_cards().values():
        assert any(card.id in line and card.long_name in line and card.units in line for line in lines)
    found = json.loads(pipshpc("products", "--json")[1])
    assert [c["id"] for c in found] == list(load_cards())


@pytest.mark.parametrize("card", load_cards().values(), ids=lambda c: c.id)
def test_a_product_is_told_in_full(pipshpc, card):
    code, out, _ = pipshpc("products", "show", card.id)
    assert code == 0
    text = " ".join(out.split())
    for algorithm in card.algorithms:
        assert algorithm.name in text
        assert all(f"{name} [{i.units}]" in text for name, i in algorithm.inputs.items())
        assert all(" ".join(r.split()) in text for r in algorithm.references)
    assert text.count("Worked example") == len(card.checks)
    assert text.count(": agrees.") == len(card.checks)
    assert json.loads(pipshpc("products", "show", card.id, "--json")[1])["id"] == card.id


def test_errors_are_one_line_with_the_errors_exit_code(pipshpc):
    code, out, err = pipshpc("products", "show", "nonsense")
    assert (code, out) == (SpecError.exit_code, "")
    assert err.startswith("error: unknown product 'nonsense'")
    assert err.count("\n") == 1


def test_debug_shows_where_an_error_came_from():
    with pytest.raises(SpecError):
        cli.main(["--debug", "products", "show", "nonsense"])


def test_wrong_usage_is_said_with_exit_code_2(pipshpc):
    code, _, err = pipshpc("quicklook")
    assert code == 2
    assert "FILE" in err


def test_an_interrupt_leaves_no_traceback(pipshpc, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipshpc.product.find_card", interrupted)
    code, _, err = pipshpc("products", "show", "rlds")
    assert code == 130
    assert "Traceback" not in err


def test_info_tells_origin_and_numbers(pipshpc, product_file):
    code, out, _ = pipshpc("info", product_file)
    assert code == 0
    assert "Surface downwelling longwave radiation (rlds)" in out
    assert "8 windows of 180 × 360 cells, the globe" in out
    assert "Forcing: an artificial atmosphere, one state held over the whole period" in out
    assert "not brutsaert1975: lower on the card's list" in out
    rows = [line.split() for line in out.splitlines() if "2006-04-01" in line]
    assert len(rows) == 8
    assert rows[7][1] == "21:00–24:00"
    assert float(rows[0][4]) == pytest.approx(303.33, abs=0.02)
    found = json.loads(pipshpc("info", product_file, "--json")[1])
    assert found["shape"] == [8, 180, 360]
    assert found["lineage"]["task"] == "0123456789abcdef"
    assert found["windows"][0]["missing"] == 0


def test_info_of_a_file_without_values_is_valid_json(pipshpc, sample, tmp_path):
    found = json.loads(pipshpc("info", sample(tmp_path / "rlds_a.nc", gap=True), "--json")[1])
    assert found["windows"][7]["mean"] is None


def test_digest_and_diff(pipshpc, sample, tmp_path):
    a, b = sample(tmp_path / "rlds_a.nc"), sample(tmp_path / "rlds_b.nc")
    c = sample(tmp_path / "rlds_c.nc", algorithm="dilley")
    code, out, _ = pipshpc("digest", a, b, c)
    digests = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    assert digests[0] == digests[1] != digests[2]
    assert json.loads(pipshpc("digest", a, "--json")[1]) == {str(a): digests[0]}
    assert pipshpc("digest", "--bytes", a)[1].split()[0] != digests[0]
    assert pipshpc("diff", a, b)[:2] == (0, "no difference in what the files say\n")
    code, out, _ = pipshpc("diff", a, c)
    assert code == 1
    assert "pipshpc_algorithm" in out
    assert "'dilley'" in out
    assert not json.loads(pipshpc("diff", a, c, "--json")[1])["equal"]


def test_quicklook_says_where_the_picture_is(pipshpc, product_file, tmp_path):
    out = tmp_path / "picture.png"
    code, said, _ = pipshpc("quicklook", product_file, "-o", out, "--time", "2", "--width", "500")
    assert (code, said.strip()) == (0, str(out))
    assert out.stat().st_size > 5000


def test_a_missing_file_is_one_line(pipshpc, tmp_path):
    for command in ("info", "quicklook", "digest"):
        code, _, err = pipshpc(command, tmp_path / "none.nc")
        assert code == 3
        assert err.count("\n") == 1
        assert "none.nc: no such file" in err


def test_doctor_reports_and_picks_the_exit_code(pipshpc, monkeypatch):
    doctor = pytest.importorskip("pipshpc.doctor")
    findings = [
        doctor.Finding(name="mpi", state="ok", found="2 ranks"),
        doctor.Finding(name="slurm", state="warn", found="no srun", action="install it"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda paths: findings)
    code, out, _ = pipshpc("doctor")
    assert code == 0
    assert "warn slurm  no srun" in out
    assert "→ install it" in out
    findings.append(doctor.Finding(name="locking", state="fail", found="none"))
    code, out, _ = pipshpc("doctor", "--json")
    assert code == 4
    assert json.loads(out)[2] == {"name": "locking", "state": "fail", "found": "none", "action": ""}


def test_a_closed_pipe_is_no_error(product_file):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} -m pipshpc.cli info {product_file} | head -n 1"
    found = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=True)
    assert found.stderr == ""
    assert found.stdout.startswith("Surface")


def test_a_faulty_campaign_is_one_line(pipshpc, tmp_path):
    pytest.importorskip("pipshpc.drive.flow")
    path = tmp_path / "campaign.yaml"
    path.write_text("campaign: x\nnonsense: 1\n")
    for command in (["plan", path], ["run", path], ["run", path, "--dry-run"]):
        code, _, err = pipshpc(*command)
        assert code == 2
        assert str(path) in err
        assert err.count("\n") == 1


def test_a_stopped_campaign_says_how_to_go_on(pipshpc, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipshpc.drive.flow.prepare", lambda path: path)
    monkeypatch.setattr("pipshpc.view.progress.follow", interrupted)
    code, _, err = pipshpc("run", tmp_path / "campaign.yaml")
    assert code == 130
    assert "run the same command to go on" in err
    assert "Traceback" not in err
