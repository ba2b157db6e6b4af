"""Forms of the things that are painted, as points (N, 2) on a canvas, and how they are laid out."""

import numpy as np

from ._painting_canvas import Canvas


def disc(centre: np.ndarray, radius: float, points: int = 48) -> np.ndarray:
    """Give a disc as a polygon."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(turn), np.sin(turn)], 1)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Give a box as a polygon."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def ridge(
    rng: np.random.Generator, canvas: Canvas, level: float, swing: float, length: float, rough: float = 0.5
) -> np.ndarray:
    """
    Give a line of hills across the canvas, from left to right.

    Parameters
    ----------
    level : float
        Mean share of the height, from the top.
    swing : float
        How far it goes up and down, in the canvas's units.
    length : float
        Length of the largest hills.
    rough : float
        How much of each octave the next keeps.
    """
    x = np.linspace(-0.05, canvas.width + 0.05, 240)
    y = np.full_like(x, level * canvas.height)
    for k in range(5):
        phase, factor = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.25)
        y += swing * rough**k * np.sin(2 * np.pi * 1.9**k * factor * x / length + phase)
    return np.stack([x, y], 1)


def peaks(rng: np.random.Generator, canvas: Canvas, level: float, swing: float, length: float) -> np.ndarray:
    """Give a line of mountains with sharp tops, from left to right."""
    step = length / 2
    x = np.arange(-2, np.ceil(canvas.width / step) + 3) * step + rng.uniform(-1, 1) * step
    y = swing * np.where(np.arange(len(x)) % 2, 1, -1) * rng.uniform(0.4, 1, len(x))
    line = np.stack([x + rng.uniform(-0.3, 0.3, len(x)) * step, y], 1)
    for k in range(4):
        middle = (line[1:] + line[:-1]) / 2
        middle[:, 1] += swing * 0.3 / 1.9**k * rng.uniform(-1, 1, len(middle))
        line = np.insert(line, np.arange(1, len(line)), middle, axis=0)
    return line + np.array([0, level * canvas.height])


def below(line: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Close a line across the canvas to the polygon of everything below it."""
    bottom = canvas.height + 0.1
    return np.concatenate([line, [(line[-1, 0], bottom), (line[0, 0], bottom)]])


def height_of(line: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Give the y of a line across the canvas at x."""
    return np.interp(x, line[:, 0], line[:, 1])


def bezier(*points: tuple[float, float], count: int = 24) -> np.ndarray:
    """Give a Bezier curve through its first and last point, (count, 2)."""
    t = np.linspace(0, 1, count)[:, None, None]
    curve = np.array(points, float)[None]
    while curve.shape[1] > 1:
        curve = (1 - t) * curve[:, :-1] + t * curve[:, 1:]
    return curve[:, 0]


def blob(rng: np.random.Generator, centre: np.ndarray, radius: float, bumps: float = 0.15) -> np.ndarray:
    """Give a rounded form that is not quite a disc, as the crown of a tree or a cloud."""
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    reach = np.ones_like(turn)
    for k in range(2, 8):
        reach += bumps / np.sqrt(k) * rng.normal() * np.sin(k * turn + rng.uniform(0, 2 * np.pi))
    return np.asarray(centre) + radius * reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)


def ribbon(line: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Give a line (N, 2) its widths (N,): the polygon around it."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    side = normal * np.asarray(widths)[:, None] / 2
    return np.concatenate([line + side, (line - side)[::-1]])


def trace(canvas: Canvas, angle: np.ndarray, starts: np.ndarray, length: np.ndarray, points: int) -> np.ndarray:
    """
    Follow a field of angles from each start, half the length each way.

    Parameters
    ----------
    canvas : Canvas
        The canvas of the field.
    angle : ndarray
        Radians, (H, W).
    starts : ndarray
        Middles of the lines, (N, 2).
    length : ndarray
        Length of each line, (N,).
    points : int
        Points of each line, odd.

    Returns
    -------
    ndarray
        The lines, (N, points, 2).
    """
    step = np.asarray(length)[:, None] / (points - 1)
    ways = []
    for sign in (-1, 1):
        at, way = starts, []
        for _ in range(points // 2):
            turn = canvas.sample(angle, at)
            at = at + sign * step * np.stack([np.cos(turn), np.sin(turn)], 1)
            way.append(at)
        ways.append(way)
    return np.stack([*ways[0][::-1], starts, *ways[1]], 1)
