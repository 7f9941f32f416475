"""Sound HDF5 files that are no sound sessions: checksums, versions, missing and mistyped parts."""

from __future__ import annotations

import json

import numpy as np

from tests.reliability.corpus import LOSS, put, spoilt, text

# --- checksums ---


@spoilt(
    "values-changed",
    f"/{LOSS}/values does not have the bytes that were saved: its checksum differs",
)
def _(f):
    f[LOSS + "/values"][0, 0] = 42


@spoilt(
    "no-checksum", f"/{LOSS}/values does not have the bytes that were saved: its checksum differs"
)
def _(f):
    del f[LOSS + "/values"].attrs["sha256"]


# --- a sound HDF5 file that is no sound session ---

NO_VERSION = "it does not say which version of the format it has"


@spoilt("no-version", NO_VERSION)
def _(f):
    del f.attrs["major"]


@spoilt("version-zero", NO_VERSION)
def _(f):
    f.attrs["major"] = 0


@spoilt(
    "from-the-future",
    "written by Lemmascope 4.2\\u202e in format 2.0; this Lemmascope reads formats up to 1.x",
)
def _(f):
    f.attrs["major"] = 2
    text(f, "lemmascope", "4.2\u202e")


@spoilt("no-experiment", "/runs/1 lacks experiment")
def _(f):
    del f["runs/1"].attrs["experiment"]


@spoilt("experiment-a-number", "/runs/1 has experiment = 3, which should be text")
def _(f):
    f["runs/1"].attrs["experiment"] = 3


@spoilt("steps-as-text", "/runs/1 has steps = many, which should be int")
def _(f):
    text(f["runs/1"], "steps", "many")


@spoilt("values-no-json", "/runs/1 has a values that is not JSON")
def _(f):
    text(f["runs/1"], "values", "{'lr': __import__('os').system('true')}")


@spoilt("values-a-list", "/runs/1 has values of the wrong type")
def _(f):
    text(f["runs/1"], "values", "[1, 2]")


@spoilt("values-nested", "/runs/1 has values of the wrong type")
def _(f):
    text(f["runs/1"], "values", json.dumps({"lr": {"py/object": "os.system"}}))


@spoilt("json-without-end", "/runs/1 has a values that is not JSON")
def _(f):
    text(f["runs/1"], "values", "[" * 60_000)


@spoilt("json-number-without-end", "/runs/1 has a values that is not JSON")
def _(f):
    text(f["runs/1"], "values", '{"lr": ' + "9" * 50_000 + "}")


@spoilt("state-unknown", "/runs/1/status has state of the wrong type")
def _(f):
    text(f["runs/1/status"], "state", "exploded")


@spoilt("run-without-a-number", "/runs holds 'first', which is no numbered group")
def _(f):
    f.move("runs/1", "runs/first")


@spoilt("stack-without-a-number", "/runs/1/metrics/loss/x should be named by a whole number")
def _(f):
    f.move(LOSS, "runs/1/metrics/loss/x")


@spoilt("no-readings", f"/{LOSS} lacks the array values")
def _(f):
    del f[LOSS + "/values"]


@spoilt("readings-of-other-steps", f"/{LOSS} has readings of shape (6, 2) for 7 steps")
def _(f):
    put(f, LOSS + "/values", np.zeros((6, 2)))


@spoilt("steps-back", f"/{LOSS} has steps that do not increase")
def _(f):
    put(f, LOSS + "/steps", np.array([0, 1, 2, 3, 3, 5, 6]))


@spoilt("steps-in-fractions", f"/{LOSS} has steps that are no row of whole numbers")
def _(f):
    put(f, LOSS + "/steps", np.linspace(0, 1, 7))


@spoilt("seeds-in-fractions", "/runs/1 has members without a whole-number seed")
def _(f):
    put(f, "runs/1/members/seed", np.array([0.5, 1, 2, 3]))


@spoilt("members-of-two-lengths", "/runs/1 has columns of members of different lengths")
def _(f):
    put(f, "runs/1/members/lr", np.array([0.5, 1, 2]))


@spoilt("truth-of-seven", f"/{LOSS}/values is marked as true or false and holds something else")
def _(f):
    put(f, LOSS + "/values", np.full((7, 2), 7, np.uint8), kind=np.bytes_(b"bool"))


@spoilt(
    "verdict-in-words", "/runs/1/verdicts/settles has measured = about 1, which should be float"
)
def _(f):
    text(f["runs/1/verdicts/settles"], "measured", "about 1")


@spoilt("long-text-not-bytes", "/long/notes is not a row of bytes")
def _(f):
    del f.attrs["notes"]
    put(f, "long/notes", np.zeros(5))


@spoilt("long-text-not-utf8", "/long/notes is not UTF-8")
def _(f):
    del f.attrs["notes"]
    put(f, "long/notes", np.full(5, 255, np.uint8))


@spoilt("escaped-text-no-json", "/ has a notes that is not JSON")
def _(f):
    text(f, "notes", "json:nothing")


@spoilt("card-of-nothing", "/cards/1 is not the card of an experiment")
def _(f):
    g = f.create_group("cards/1")
    text(g, "name", "toy/quadratic")
    text(g, "card", '{"~c":"Catalogue","cards":[{"~c":"Status","run":"r"}],"devices":[]}')


@spoilt("card-of-wrong-types", "/cards/1 is not the card of an experiment")
def _(f):
    g = f.create_group("cards/1")
    text(g, "name", "toy/quadratic")
    text(g, "card", '{"~c":"Catalogue","cards":[7],"devices":[]}')
