"""C that every step shares: vectorisable elementary functions, and matrix products with sizes known to the compiler."""

from __future__ import annotations

from engine.running.native.values import Ref

HEADER = """\
#include <math.h>
typedef REAL real;
#define ALIGNED __attribute__((aligned(64)))
#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define LANES (64 / (int)sizeof(real))
typedef real v64 __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
typedef real v32 __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
typedef real v16 __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));
static inline float exp_f(float x) {
  /* e^x = 2^n e^r with |r| <= ln 2 / 2; the Taylor series of e^r to r^7; below the normal floats 0 */
  float y = x < -87.33654f ? -87.33654f : (x > 88.72283f ? 88.72283f : x);
  float n = __builtin_rintf(y * 1.44269504f);
  float r = __builtin_fmaf(n, -0.693145752f, y); /* ln 2 in two parts */
  r = __builtin_fmaf(n, -1.42860677e-6f, r);
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  union { float f; int i; } bits = {p};
  bits.i += (int)n * (1 << 23); /* times 2^n */
  float e = x > 88.72283f ? INFINITY : (x < -87.33654f ? 0.0f : bits.f);
  return x != x ? x : e;
}
static inline float tanh_f(float x) {
  float a = __builtin_fabsf(x);
  float e = exp_f(-2.0f * a);
  float far = (1.0f - e) / (1.0f + e);
  float s = x * x; /* near 0: x + x^3 P(x^2), P fitted on |x| <= 5/8 */
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  float near = x + x * s * p;
  return a < 0.625f ? near : (x < 0.0f ? -far : far);
}
#define EXP(x) (sizeof(real) == 4 ? (real)exp_f((float)(x)) : (real)exp((double)(x)))
#define TANH(x) (sizeof(real) == 4 ? (real)tanh_f((float)(x)) : (real)tanh((double)(x)))
#define LIBM(fn, x) (sizeof(real) == 4 ? (real)fn##f((float)(x)) : (real)fn((double)(x)))
"""

ROWS = 8  # of a tile


class Products:
    """Matrix products as functions, one for each size and layout."""

    def __init__(self) -> None:
        self.functions: list[str] = []
        self.names: dict[tuple[int, ...], str] = {}
        self.work = 0  # multiplications, all calls together

    def call(self, out: Ref, a: Ref, b: Ref) -> str:
        """C for out = a b; `a` (m, k) of any strides, rows of `b` (k, n) and of `out` (m, n) contiguous."""
        (m, k), n = a.shape, b.shape[1]
        self.work += m * k * n
        key = (m, k, n, *a.strides, b.strides[0], out.strides[0])
        if key not in self.names:
            self.names[key] = f"product{len(self.names)}"
            self.functions.append(_product(self.names[key], *key))
        return (
            f"{self.names[key]}(&{a.at(['0', '0'])}, &{b.at(['0', '0'])}, &{out.at(['0', '0'])});"
        )


def _product(name: str, m: int, k: int, n: int, a0: int, a1: int, b0: int, c0: int) -> str:
    lines = [
        f"static void {name}(const real *restrict A, const real *restrict B, real *restrict C) {{",
        "  long j = 0;",  # columns done: whole vectors first, then the rest in ever smaller ones
    ]
    for count in (2, 1):
        lines.append(f"  for (; j + {count} * LANES <= {n}; j += {count} * LANES) {{")
        lines += _rows(
            m, k, a0, a1, b0, c0, ["v64"] * count, [f"LANES * {i}" for i in range(count)]
        )
        lines.append("  }")
    for kind, part in (("v32", "LANES / 2"), ("v16", "LANES / 4"), ("real", "1")):
        lines.append(f"  for (; j + {part} <= {n}; j += {part}) {{")
        lines += _rows(m, k, a0, a1, b0, c0, [kind], ["0"])
        lines.append("  }")
    return "\n".join([*lines, "}"])


def _rows(
    m: int, k: int, a0: int, a1: int, b0: int, c0: int, kinds: list[str], offsets: list[str]
) -> list[str]:
    lines: list[str] = []
    done = 0
    for rows in (ROWS, 4, 2, 1):
        if (m - done) >= rows:
            stop = done + (m - done) // rows * rows
            lines.append(f"    for (long i = {done}; i < {stop}; i += {rows}) {{")
            lines += _tile(rows, k, a0, a1, b0, c0, kinds, offsets)
            lines.append("    }")
            done = stop
    return lines


def _tile(
    rows: int, k: int, a0: int, a1: int, b0: int, c0: int, kinds: list[str], offsets: list[str]
) -> list[str]:
    sums = [(r, v) for r in range(rows) for v in range(len(kinds))]
    lines = [f"      {kinds[v]} c{r}_{v} = {{0}};" if kinds[v] != "real" else
             f"      real c{r}_{v} = 0;" for r, v in sums]  # fmt: skip
    lines.append(f"      for (long q = 0; q < {k}; q++) {{")
    for v, (kind, offset) in enumerate(zip(kinds, offsets, strict=True)):
        lines.append(f"        {kind} b{v} = *(const {kind} *)(B + q * {b0} + j + {offset});")
    for r in range(rows):
        lines.append(f"        real a{r} = A[(i + {r}) * {a0} + q * {a1}];")
        lines += [f"        c{r}_{v} += a{r} * b{v};" for v in range(len(kinds))]
    lines.append("      }")
    for r, v in sums:
        lines.append(f"      *({kinds[v]} *)(C + (i + {r}) * {c0} + j + {offsets[v]}) = c{r}_{v};")
    return lines
