"""A driver runs what was submitted, from anywhere, and no wish makes two of them."""

import shutil
from pathlib import Path

import pytest
from story import Story
from test_overview import CAMPAIGN

from pipshpc.campaign import load_campaign
from pipshpc.commands import starter
from pipshpc.site import list_sites, load_site
from pipshpc.slurm import Silence, State
from pipshpc.view.overview import find_campaign, read_lines

FILES = CAMPAIGN.replace('forcing: {kind: "idealised", downscale: false}', 'forcing: {paths: ["era/*.nc"]}')


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(FILES.replace("output", 'site: "lab"\noutput'))
    return find_campaign("tiny.yaml")


def test_the_copy_depends_on_no_folder_and_no_environment(place, tmp_path, monkeypatch):
    assert starter.stage(place)
    assert not starter.stage(place)
    monkeypatch.chdir("/")
    monkeypatch.delenv("PIPSHPC_SITES", raising=False)
    copy, own = load_campaign(place.copy), load_campaign(place.file)
    assert copy.forcing.paths == [str(tmp_path / "era/*.nc")]
    assert copy.output == str(tmp_path / "out")
    assert load_site(copy.site) == load_site("lab")
    assert (copy.start, copy.end, copy.products, copy.resources) == (own.start, own.end, own.products, own.resources)
    assert find_campaign(place.copy).folder == place.folder
    assert find_campaign(place.folder).file == place.file


def test_a_site_beside_the_campaign_is_found_from_anywhere(place, tmp_path, monkeypatch):
    text = list_sites()["lab"].read_text()
    (tmp_path / "own.yaml").write_text(text.replace('name: "lab"', 'name: "own"'))
    place.file.write_text(place.file.read_text().replace('"lab"', '"./own.yaml"'))
    starter.stage(place)
    monkeypatch.chdir("/")
    assert not starter.is_changed(place)
    assert not starter.stage(find_campaign(place.folder))
    assert load_site(load_campaign(place.copy).site).name == "own"


def test_a_changed_file_is_noticed(place):
    starter.stage(place)
    assert not starter.is_changed(place)
    place.file.write_text(place.file.read_text() + "# a remark\n")
    assert not starter.is_changed(place)
    place.file.write_text(place.file.read_text().replace("04-03", "04-04"))
    assert starter.is_changed(place)


def test_the_drivers_job_is_small_and_told_before_its_end(place):
    starter.stage(place)
    site = load_site("lab")
    text, key = starter.driver_job(place, site, 1)
    own = site.scheduler.driver
    for line in (f"--comment={key}", "--requeue", "--signal=B:USR1@90", "--nodes=1", f"--mem={own.memory_mib}M",
                 f"--output={place.folder / 'driver.log'}"):  # fmt: skip
        assert f"#SBATCH {line}\n" in text
    assert text.rstrip().endswith(f"campaign drive {place.folder}")
    assert starter.driver_job(place, site, 1)[1] == key != starter.driver_job(place, site, 2)[1]


class Slurm:
    """Stands for the cluster: jobs by key, and the states that are told of them."""

    def __init__(self):
        self.jobs, self.told, self.lost = {}, {}, 0

    def submit(self, _, text, key):
        job = self.jobs.setdefault(key, str(len(self.jobs) + 1))
        if self.lost:
            self.lost -= 1
            raise Silence("sbatch gave no answer")
        return job

    def poll(self, _, wanted):
        return {
            job: State(job, *self.told.get(job, ("UNKNOWN", "neither squeue nor sacct knows it"))) for job in wanted
        }


@pytest.fixture
def slurm(monkeypatch):
    slurm = Slurm()
    monkeypatch.setattr(starter, "submit", slurm.submit)
    monkeypatch.setattr(starter, "poll", slurm.poll)
    return slurm


def test_a_lost_answer_does_not_make_a_second_job(place, slurm):
    slurm.lost = 1
    with pytest.raises(Silence):
        starter.start_driver(place, "me")
    started = starter.start_driver(place, "me")
    assert (started.how, started.number, len(slurm.jobs)) == ("job", "1", 1)


def test_a_campaign_whose_folder_was_removed_begins_anew(place, slurm):
    starter.start_driver(place, "me")
    shutil.rmtree(place.folder.parents[1])
    assert starter.start_driver(place, "me").number == "2"


def test_while_a_job_waits_there_is_no_second(place, slurm):
    starter.start_driver(place, "me")
    slurm.told["1"] = ("PENDING", "Resources")
    again = starter.start_driver(place, "me")
    assert (again.how, again.number, len(slurm.jobs)) == ("queued", "1", 1)
    slurm.told["1"] = ("UNKNOWN", "squeue gave no answer in 20 s")
    with pytest.raises(Silence, match="not known"):
        starter.start_driver(place, "me")
    slurm.told["1"] = ("COMPLETED", "")
    assert starter.start_driver(place, "me").number == "2"


def test_a_driver_at_work_is_told_of_changes(place, slurm, monkeypatch):
    starter.stage(place)
    monkeypatch.setattr(starter, "driver_alive", lambda folder: True)
    assert starter.start_driver(place, "me").how == "alive"
    assert read_lines(place.folder / "journal.jsonl") == []
    place.file.write_text(place.file.read_text().replace("04-03", "04-04"))
    assert starter.start_driver(place, "me").changed
    assert [e["event"] for e in read_lines(place.folder / "journal.jsonl")] == ["replan"]
    assert not slurm.jobs


def test_a_driver_that_fails_at_once_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(FILES)
    with pytest.raises(starter.SiteError, match=r"era/\*.nc"):
        starter.start_driver(find_campaign("tiny.yaml"), "me")


class OwnJob:
    """Answers as Slurm does about the job that asks."""

    def __init__(self, said):
        self.said, self.asked = said, []

    def ask(self, program, *words):
        self.asked.append((program, *words))
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("RUNNING|1:05\n", True),
        ("RUNNING|0:00\n", True),
        ("RUNNING|2:00:00\n", False),  # somebody told it to stop
        ("RUNNING|UNLIMITED\n", False),
        ("COMPLETING|1:05\n", False),  # somebody cancelled it
        ("", False),
        (Silence("squeue gave no answer"), False),
    ],
)
def test_only_a_job_whose_time_is_up_is_queued_again(said, again):
    slurm = OwnJob(said)
    assert starter.requeue_own_job({"SLURM_JOB_ID": "7"}, slurm) is again
    assert (("scontrol", "requeue", "7") in slurm.asked) is again
    assert not starter.requeue_own_job({}, slurm)


def test_campaigns_of_one_name_have_jobs_of_their_own(tmp_path):
    one, other = (Story(tmp_path / k / ".pipshpc" / "c") for k in "ab")
    keys = {starter.job_key(find_campaign(s.folder), 1) for s in (one.plan(1), other.plan(1))}
    assert len(keys) == 2
