"""A study of which a trainer that is not ours trains one run: locked before its first step, judged as it goes on."""

from dataclasses import replace
from pathlib import Path
from typing import final

from leonids.claims.evidence import step_at
from leonids.claims.prediction import resolved
from leonids.digest import canonical_json
from leonids.errors import BaseError, OutputError, UsageError
from leonids.floor.base_files import find_base
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.lines import LEDGER
from leonids.ledger.runs import run_state
from leonids.spec import RunSpec, find_study, load_study
from leonids.study.conduct import judge_folder, register, write_verdicts
from leonids.study.folder import PLAN, RUN, StudyFolder, note_about
from leonids.study.plan import Choices, Plan, make_plan, review_steps
from leonids.study.progress import sealed_steps


@final
class Guest:
    """One run of a study, or a run without predictions, in the folder ``out``.

    Raises ``SpecError`` or ``UsageError`` for a study, an arm, a seed or a run that does not exist or is not named.
    """

    def __init__(self, out: Path, *, study: str | Path | None, arm: str, seed: int | None, run: str) -> None:
        self.out = out
        self._path = None if study is None else find_study(str(study))
        self._study = None if self._path is None else load_study(self._path)
        if self._study is None:
            if not run:
                raise UsageError("the callback has no run", rule="a run has a name", way_out="say run= or study=")
            self.arm, self.seed, self.run = arm or run, seed or 0, run
            return
        if run:
            raise UsageError(f"run is {run!r}", rule="a study names its runs", way_out="say arm= and seed= instead")
        arms, wanted = self._study.arms, arm or (next(iter(self._study.arms)) if len(self._study.arms) == 1 else "")
        if wanted not in arms:
            problem = f"study {self._study.study!r} has no arm {arm!r}" if arm else "the callback has no arm"
            raise UsageError(problem, rule=f"its arms are {', '.join(arms)}", way_out="say which one: arm=")
        seeds = arms[wanted].seeds or self._study.seeds
        chosen = seeds[0] if seed is None and len(seeds) == 1 else seed
        if chosen not in seeds:
            problem = "the callback has no seed" if seed is None else f"arm {wanted!r} has no seed {seed}"
            raise UsageError(problem, rule=f"its seeds are {', '.join(map(str, seeds))}", way_out="say which: seed=")
        self.arm, self.seed, self.run = wanted, int(chosen), f"{wanted}.s{chosen}"

    def reviews(self, steps: int) -> tuple[int, ...]:
        """Return the steps after which predictions fall due."""
        return () if self._study is None else review_steps(self._study.reviews, steps)[1:]

    def begin(self, run: RunSpec) -> RunSpec:
        """Lock the study, or go on with it; return the run as planned. ``run`` is what the trainer is about to do.

        Raises ``OutputError`` where the folder holds something else or the run has other steps there.
        """
        entries = read_entries(self.out) if (self.out / LEDGER).is_file() else ()
        body = note_about(entries, PLAN)
        if self._study is None and body is not None:
            raise OutputError(f"{self.out} holds a study", rule="its runs are in its plan", way_out="say study=")
        if self._study is None:
            known = [e.body["run"] for e in entries if e.type == "note" and e.body.get("about") == RUN]
            if not any(isinstance(one, dict) and one["run"] == run.run for one in known):
                Ledger.open(self.out).append("note", {"about": RUN, "run": run.model_dump(mode="json")})
        elif body is None:
            register(self._plan(run), self.out)
        folder = StudyFolder.open(self.out)
        if self._study is not None and canonical_json(resolved(dict(self._study.hypotheses))) != canonical_json(
            folder.plan["hypotheses"]
        ):
            raise OutputError(
                f"{self.out} holds another study, or this one with other predictions",
                rule="what is registered is not changed",
                way_out="choose another out=",
            )
        planned = next((one for one in folder.runs if one.run == run.run), None)
        if planned is None or planned.steps != run.steps:
            held = "no such run" if planned is None else f"{planned.steps} steps"
            raise OutputError(
                f"{run.run} trains {run.steps} steps, and the plan in {self.out} has {held}",
                rule="a plan is kept",
                way_out="choose another out=",
            )
        return planned

    def _plan(self, run: RunSpec) -> Plan:
        if self._study is None or self._path is None:
            raise UsageError("there is no study to plan", rule="a plan is made of one")
        plan = make_plan(self._study, Choices(base=run.base, steps=run.steps), beside=self._path.parent)
        try:
            find_base(run.base)
        except BaseError:
            # Floors are of a base's tokens: without its files none is known.
            bare = tuple(one.model_copy(update={"universe": None}) for one in plan.runs)
            return replace(plan, runs=bare)
        return plan

    def judge(self) -> tuple[str, ...]:
        """Judge each review that this run has passed, once, on sealed lines.

        Return the predictions marked ``kill`` that rest on this arm and were refuted now.
        """
        if self._study is None:
            return ()
        ledger = Ledger.open(self.out)
        entries = ledger.entries()
        judged = {(e.body.get("run"), e.body["at"]) for e in entries if e.type == "verdict"}
        folder = StudyFolder.open(self.out)
        steps = next(one.steps for one in folder.runs if one.run == self.run)
        done = sealed_steps(entries, self.run)
        ended = all(run_state(entries, one.run) == "finished" for one in folder.runs)
        fatal = {p.id for p in self._study.predictions if p.kill and self.arm in p.arms}
        refuted: list[str] = []
        for review in self._study.reviews:
            if done < step_at(review, planned_steps=steps) or (self.run, review) in judged:
                continue
            verdicts = judge_folder(folder, at=review)
            write_verdicts(ledger, verdicts, at=review, run=self.run)
            refuted += [v.prediction for v in verdicts if v.word == "refuted" and v.prediction in fatal]
        if ended and not folder.closed:
            write_verdicts(ledger, judge_folder(folder, at=None), at=None)
        stopping = tuple(dict.fromkeys(refuted)) if done < steps else ()
        if stopping:
            ledger.append("note", {"about": "stop", "run": self.run, "step": done, "refuted": list(stopping)})
        return stopping
