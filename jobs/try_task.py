"""Write one small task of an idealised atmosphere, to try a site with: python jobs/try_task.py TASK.json."""

import sys
from pathlib import Path

from pipshpc.campaign import Campaign
from pipshpc.forcing import Forcing
from pipshpc.plan import plan
from pipshpc.survey import survey
from pipshpc.task import write_task

path = Path(sys.argv[1]).absolute()
path.parent.mkdir(parents=True, exist_ok=True)
campaign = Campaign(
    campaign="try",
    products=["rlds"],
    grid="0.25deg",
    period="3h",
    start="2006-04-01T00:00:00Z",
    end="2006-04-02T00:00:00Z",
    forcing=Forcing(kind="idealised", downscale=False),
    output=str(path.parent),
)
write_task(plan(campaign, survey(campaign, path.parent))[0], path)
