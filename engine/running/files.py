"""What the service does with files: sessions, what a crash left, who has what open. No torch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.messages import (
    Checkpoint,
    Message,
    Open,
    Opened,
    Orphaned,
    Refused,
    Save,
    Saved,
    Started,
)
from engine.running.runs import ENDED, Run, foreign, replayed
from engine.sessions import lock, state

if TYPE_CHECKING:
    from engine.running.service import Service

log = logging.getLogger("lemmascope")


class Files:
    """`keep`: runs have journals, and what dead processes left is offered."""

    def __init__(self, service: Service, keep: bool) -> None:
        self.service, self.keep = service, keep
        self.journals: state.Journals | None = None
        self.looked = asyncio.Event()  # every orphan has been said
        self.lock: lock.Lock | None = None  # of the session that was opened or saved last
        self.recovered: dict[str, state.Left] = {}  # run -> the folder that it was read out of
        self.adopted: set[str] = set()  # folders whose runs have gone on here, in journals of ours
        self.kept: set[str] = set()  # runs whose past is in their journals
        self.remembering: dict[str, asyncio.Task[None]] = {}  # … or is being written there
        self.told = False  # that nothing can be kept
        self.turn = asyncio.Lock()  # a session is opened or saved, and then locked, one at a time

    def say(self, message: Message) -> None:
        self.service.on_message(message)

    async def _aside(self, act: Callable[[], Any]) -> Any:
        return await self.service.loop.run_in_executor(None, act)

    # --- journals ---

    async def look(self) -> None:
        """Says what dead processes left."""
        if self.keep:
            with contextlib.suppress(OSError):
                for o in await self._aside(state.orphans):
                    self.say(Orphaned(o.path, o.experiment, o.steps, o.last, o.preview))
        self.looked.set()

    def journal(self, run: Run) -> str:
        """The folder for a run's journals; empty if there can be none. What the run knows already is written there."""
        if not self.keep:
            return ""
        try:
            self.journals = self.journals or state.Journals()
            place = self.journals.of(run.id)
        except OSError as e:
            self.kept.discard(run.id)  # once it can be, what is missing is written
            if not self.told:
                self.told = True
                why = f"{state.folder()} cannot be written ({e.strerror or e})"
                self.say(
                    Refused(
                        "", f"{why}: what is measured is not safe from a crash until it is saved"
                    )
                )
            return ""
        self.told = False
        if run.id not in self.kept:
            self.kept.add(run.id)
            if run.columns or run.checkpoints:
                task = self.service.spawn(self._remember(run.id, run.messages()))
                self.remembering[run.id] = task
                task.add_done_callback(lambda t: self._remembered(run.id, t))
        return place

    def _remembered(self, run: str, task: asyncio.Task[None]) -> None:
        if self.remembering.get(run) is task:
            del self.remembering[run]

    async def _remember(self, run: str, messages: list[Message]) -> None:
        assert self.journals is not None
        journals = self.journals
        left = self.recovered.get(run)
        try:
            await self._aside(lambda: journals.remember(run, messages))
        except OSError as e:
            self.say(
                Refused(
                    run, f"{e}; what the run knew before is not safe from a crash until it is saved"
                )
            )
            return
        if left is not None and self.recovered.get(run) is left:  # all of it is here now
            with contextlib.suppress(OSError):  # else it is offered twice
                await self._aside(left.discard)
                self.adopted.add(left.path)
            self.recovered.pop(run, None)

    async def forget(self, run: str) -> None:
        """A run that is saved, and not in training. What it measures from here on has journals of its own."""
        if writing := self.remembering.get(run):
            await asyncio.wait([writing])
        self.kept.discard(run)
        left = self.recovered.pop(run, None)
        aside = ""
        if self.journals is not None:
            with contextlib.suppress(OSError):
                aside = self.journals.set_aside(run)

        def act() -> None:
            with contextlib.suppress(OSError):
                if left is not None:
                    left.discard()
            with contextlib.suppress(OSError):
                state.discard(aside)

        await self._aside(act)

    async def discard(self, path: str) -> None:
        """A journal that an Orphaned named is not wanted."""
        if path in self.adopted:
            return  # its run is Forgotten like any other
        if not await self._aside(lambda: state.is_run(path)):
            self.say(Refused("", f"{os.path.basename(path)} is no longer there"))
            return
        mine = [r for r, held in self.recovered.items() if held.path == path]
        try:
            left = self.recovered.pop(mine[0]) if mine else state.Left(path)
            await self._aside(left.discard)
        except lock.Held as e:
            self.say(Refused("", f"{e.who} has opened what a crash left there"))
        except OSError as e:
            self.say(Refused("", f"what a crash left could not be removed ({e.strerror or e})"))

    def close(self, discard: bool) -> None:
        """`discard`: nothing that is not saved is wanted any more; else it is offered next time."""
        for left in self.recovered.values():
            with contextlib.suppress(OSError):
                (left.discard if discard else left.release)()
        self.recovered = {}
        if self.journals is not None:
            self.journals.close(discard)
            self.journals = None
        self._let_go()

    # --- who has a session open ---

    def _take(self, path: str) -> tuple[str, lock.Lock | None]:
        """(who has it, or the lock on it). None where no lock can be: nothing can be saved there either."""
        place = lock.beside(path)
        if self.lock is not None and self.lock.path == place:
            return "", self.lock
        try:
            return "", lock.Lock(place)
        except lock.Held as e:
            return e.who, None
        except OSError:
            return "", None

    def _hold(self, taken: lock.Lock | None) -> None:
        if taken is not self.lock:
            self._let_go()
            self.lock = taken

    def _let_go(self) -> None:
        if self.lock is not None:
            self.lock.release()
        self.lock = None

    # --- sessions ---

    async def save(self, save: Save) -> None:
        try:
            async with self.turn:
                why = await self._save(save)
        except Exception as e:  # whoever asked waits for an answer
            log.info("unforeseen, in saving", exc_info=e)
            why = f"{os.path.basename(save.path)} was not saved: {type(e).__name__}: {e}"
        self.say(Saved(save.path, why, () if why else save.runs))

    async def _save(self, save: Save) -> str:
        """Why not; empty if it is saved."""
        from engine.sessions import saver

        runs, cards = self.service.runs, self.service.cards
        if missing := [r for r in save.runs if r not in runs]:
            return f"there is no run {', '.join(missing)}"
        chosen = [runs[r] for r in save.runs]
        streams = [run.messages() for run in chosen]
        still = {r.id: r.heard for r in chosen}
        known = {r.started.experiment for r in chosen} & cards.keys()
        who, taken = self._take(save.path)
        if who:
            return f"{os.path.basename(save.path)} was not saved: {who} has it open"
        try:
            await self._aside(
                lambda: saver.save(
                    save.path, streams, save.notes, save.layout,
                    {name: cards[name] for name in sorted(known)}, overwrite=save.overwrite,
                )
            )  # fmt: skip
        except BaseException as e:
            if taken is not None and taken is not self.lock:
                taken.release()
            if not isinstance(e, (OSError, ValueError)):
                raise
            return str(e)
        self._hold(taken)
        for run in chosen:
            if writing := self.remembering.get(run.id):
                await asyncio.wait([writing])
            training = {name for name, _ in self.service.crew.jobs()}
            if run.id not in training and still[run.id] == run.heard:  # the file has all of it
                await self.forget(run.id)
        return ""

    async def open(self, request: Open) -> None:
        try:
            if await self._aside(lambda: state.is_run(request.path)):
                await self._recover(request)
            else:
                await self._open(request)
        except Exception as e:  # whoever asked waits for an answer
            name = os.path.basename(request.path)
            why = f"{name} was not opened: {type(e).__name__}: {e}"
            self.say(Opened(request.path, (), why=why))
            raise

    async def _open(self, request: Open) -> None:
        from engine.sessions import loader

        async with self.turn:
            who, taken = self._take(request.path)
            try:
                session = await self._aside(lambda: loader.load(request.path))
                fresh = [replayed(ms, uuid.uuid4().hex[:12]) for ms in session.runs]
                _name_branches(fresh, session.runs)
            except BaseException as e:
                if taken is not None and taken is not self.lock:
                    taken.release()
                if not isinstance(e, (OSError, ValueError)):
                    raise
                self.say(Opened(request.path, (), why=str(e)))
                return
            self._hold(taken)
        await self._catalogue()
        service = self.service
        for name, card in session.cards.items():
            if name not in service.cards:
                self.say(
                    Refused(
                        "", f"{name} is not installed here: its curves are shown, it cannot be run"
                    )
                )
                service.cards[name] = service.foreign[name] = card
        ids, why = self._show(fresh)
        unknown = tuple(card for name, card in session.cards.items() if name in service.foreign)
        self.say(
            Opened(
                request.path, ids, session.notes, session.layout, why, session.notice, who, unknown
            )
        )

    async def _recover(self, request: Open) -> None:
        """What a crash left. Its claims were not kept: they are judged again."""
        held: list[state.Left] = []

        def read() -> list[Message]:
            held.append(state.Left(request.path))
            return state.recover(request.path)

        try:
            run = replayed(await self._aside(read), uuid.uuid4().hex[:12])
            await self._catalogue()
            if self.service.closing:  # nobody sees it any more: it is on offer as before
                held[0].release()
                return
            ids, why = self._show([run])
        except BaseException as e:
            for left in held:
                left.release()
            if not isinstance(e, (OSError, ValueError)):
                raise
            why = f"{e.who} has opened it already" if isinstance(e, lock.Held) else str(e)
            self.say(Opened(request.path, (), why=why))
            return
        self.recovered[run.id] = held[0]
        self.say(Opened(request.path, ids, why=why))
        if run.started.experiment in self.service.cards:
            self.service.judge(run, interim=run.overall()[0] not in ENDED)

    async def _catalogue(self) -> None:
        """A file may be opened before the first worker is warm; only then is it known what is installed."""
        await self.service.described.wait()
        if self.service.vetting is not None:
            await asyncio.wait([self.service.vetting])

    def _show(self, fresh: list[Run]) -> tuple[tuple[str, ...], str]:
        """Runs that came from a file: their ids, and what is odd about them."""
        whys = []
        streams = [run.messages() for run in fresh]  # all of them, or none is shown
        for run, messages in zip(fresh, streams, strict=True):
            if problem := foreign(run, self.service.cards.get(run.started.experiment)):
                whys.append(problem)
            self.service.runs[run.id] = run
            for m in messages:
                self.say(replace(m, arrays={}) if isinstance(m, Checkpoint) else m)
        return tuple(r.id for r in fresh), "; ".join(whys)


def _name_branches(fresh: list[Run], streams: list[list[Message]]) -> None:
    """Where a file's runs branched off from one another stays on offer."""
    ids = [next(m.run for m in ms if isinstance(m, Started)) for ms in streams]
    known = dict(zip(ids, fresh, strict=True))
    for run in fresh:
        if parent := known.get(run.started.parent):
            parent.named.add(run.started.parent_step)
