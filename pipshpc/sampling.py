"""Which time steps of the forcing make the mean of which window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.offer import Offer
from pipshpc.task import Sample

LONGEST_S = 10800.0
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """Samples of some windows, and the numbers of the times that they use."""

    samples: list[list[Sample]]
    used: npt.NDArray[np.intp]


class Sampler:
    """Samples the windows of a campaign.

    Where the forcing is as fine as the window or finer, the window is cut into
    intervals as long as its time step and each is represented by the step
    that falls into it. Where it is coarser, the state at the middle of the
    window is found by linear interpolation in time.

    Parameters
    ----------
    offer : times of the forcing
    hold : the forcing holds one time, for all windows
    period : length of a window
    longest_s : of a sample; a state that stands for more is cut
    patient : do not hold the last time of a coarse forcing until the next should be there, but wait for it
    """

    def __init__(
        self, offer: Offer, hold: bool, period: timedelta, patient: bool = False, longest_s: float = LONGEST_S
    ) -> None:
        self._offer, self._hold, self._patient = offer, hold, patient
        self._times = offer.times.astype("datetime64[s]").astype(np.int64)
        self._period_s, self._longest_s = period.total_seconds(), longest_s

    def draw(self, starts: list[datetime]) -> Drawn:
        """Return the samples of windows that begin at `starts`.

        Raises
        ------
        InputError
            Where the forcing does not reach a window.
        """
        begins = np.array([s.timestamp() for s in starts])
        if self._times.size == 1 and (self._hold or not self._offer.step_s):
            return self._held(begins)
        if self._times.size == 0:
            raise self._missing(int(begins[0]))
        if self._offer.step_s <= self._period_s:
            return self._cut(begins)
        return self._between(begins)

    def _held(self, begins: Seconds) -> Drawn:
        if not self._hold:
            raise InputError(
                f"the forcing ({self._offer.title}) holds one time, {self._offer.times[0]}Z; "
                "to use it for a whole period set 'forcing.hold: true'"
            )
        none = np.zeros(begins.size, np.intp)
        return self._spread(begins[:, None], np.full((begins.size, 1), self._period_s), none, none, none.astype(float))

    def _cut(self, begins: Seconds) -> Drawn:
        step, period = self._offer.step_s, self._period_s
        offsets = np.arange(math.ceil(period / step - 1e-9)) * step
        at = begins[:, None] + offsets
        index = np.searchsorted(self._times, np.round(at).ravel().astype(np.int64))
        late = index >= self._times.size
        late |= self._times[np.minimum(index, self._times.size - 1)] >= np.round(at).ravel() + round(step)
        if np.any(late):
            raise self._missing(int(at.ravel()[int(np.argmax(late))]))
        lengths = np.broadcast_to(np.minimum(step, period - offsets), at.shape)
        return self._spread(at, lengths, index, index, np.zeros(index.size))

    def _between(self, begins: Seconds) -> Drawn:
        step, times = round(self._offer.step_s), self._times
        middle = np.round(begins + self._period_s / 2).astype(np.int64)
        first = np.searchsorted(times, middle, side="right") - 1
        gone = (first < 0) | (middle >= times[np.maximum(first, 0)] + step)
        weight = (middle - times[np.maximum(first, 0)]) / self._offer.step_s
        second = np.where(weight > 0, first + 1, first)
        end = second >= times.size
        if self._patient:
            gone |= end
        second, weight = np.where(end, first, second), np.where(end, 0.0, weight)
        gone |= (second > first) & (times[second] != times[np.maximum(first, 0)] + step)
        if np.any(gone):
            raise self._missing(int(middle[int(np.argmax(gone))]))
        return self._spread(begins[:, None], np.full((begins.size, 1), self._period_s), first, second, weight)

    def _spread(
        self,
        at: Seconds,
        lengths: Seconds,
        first: npt.NDArray[np.intp],
        second: npt.NDArray[np.intp],
        weight: Seconds,
    ) -> Drawn:
        """Turn intervals, (windows, n), into samples of at most `longest_s`, so that the sun's path is fine enough."""
        one = _iso(self._times[first])
        two = one if second is first else _iso(self._times[second])
        samples: list[list[Sample]] = []
        parts = max(1, math.ceil(float(lengths.max()) / self._longest_s))
        shares = np.arange(parts) / parts
        starts = iter(_iso(np.floor((at[..., None] + lengths[..., None] * shares).ravel() + 1e-6)))
        seconds = (lengths / parts).tolist()
        weights = weight.tolist()
        k = 0
        for row in seconds:
            window: list[Sample] = []
            for length in row:
                window += [
                    Sample(first=one[k], second=two[k], weight=weights[k], start=next(starts), seconds=length)
                    for _ in range(parts)
                ]
                k += 1
            samples.append(window)
        return Drawn(samples, np.unique(np.concatenate([first, second])))

    def _missing(self, second: int) -> InputError:
        offer, when = self._offer, f"{np.datetime64(second, 's')}Z"
        covers = f"covers {offer.times[0]}Z to {offer.times[-1]}Z and " if offer.times.size else ""
        return InputError(
            f"the forcing ({offer.title}) {covers}has nothing for {when}; "
            "shorten the campaign's start/end or add files to 'forcing.paths'"
        )


def _iso(seconds: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> list[str]:
    """Write seconds since 1970 as ISO 8601 with a Z."""
    text = np.datetime_as_string(seconds.astype(np.int64).astype("datetime64[s]"))
    return [f"{t}Z" for t in text.tolist()]


def sample_window(offer: Offer, hold: bool, start: datetime, period: timedelta) -> list[Sample]:
    """Say which time steps of the forcing make the mean of one window; see `Sampler`."""
    return Sampler(offer, hold, period).draw([start]).samples[0]


def iso(time: datetime) -> str:
    """Write a UTC time as ISO 8601 with a Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
