"""Everything that fixes the network's shape and behaviour; travels inside each checkpoint."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any

from kinaema_ros.errors import InputError
from kinaema_ros.settings import check, setting

MIN_EMBEDDINGS, MAX_EMBEDDINGS = 16, 65536  # of fewer, the window leaves hardly any
TINY, LARGE = 1e-9, 1e9  # stand for "above 0" and "any"


class Checked:
    """Refuses a value out of range on construction: ``ValueError`` names the field and its range."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class PoseGraphConfig(Checked):
    """How the embeddings' poses agree. The odometry is a random walk with a wheeled robot's order of magnitude."""

    optimise_every: int = setting(5, "Updates between two optimisations", 1, 10**9)
    loops_per_embedding: int = setting(2, "Size of the ring of loops", 1, 64)
    position_variance_per_metre: float = setting(0.02**2, "m^2 per metre driven", TINY, LARGE)
    yaw_variance_per_metre: float = setting(0.007**2, "rad^2 per metre driven", TINY, LARGE)
    yaw_variance_per_radian: float = setting(0.007**2, "rad^2 per radian turned", TINY, LARGE)
    min_position_variance: float = setting(0.02**2, "m^2, of a relation by odometry", TINY, LARGE)
    min_yaw_variance: float = setting(0.005**2, "rad^2, of a relation by odometry", TINY, LARGE)
    noise_rate: float = setting(
        0.1, "By how much a loop changes the logarithm of the odometry's noise", 0.0, 1.0
    )
    min_noise: float = setting(0.02, "Least factor on the odometry's variances", 1e-4, 1.0)
    max_noise: float = setting(10.0, "Largest factor on them", 1.0, LARGE)
    kernel: float = setting(
        3.0, "Standard deviations beyond which a loop loses its say (Geman and McClure)", TINY, LARGE
    )
    min_agreeing: int = setting(
        2,
        "Other loops that must ask for the same correction before one beyond the kernel has a say",
        0,
        10**6,
    )
    slack_left: float = setting(
        0.5,
        "Of the kernel's width where loops agree, the share that is left after an optimisation",
        0.0,
        1.0,
    )
    loop_position_std: float = setting(
        0.02,
        "Metres, the least of a relation by loops, however often its two embeddings see each other",
        TINY,
        LARGE,
    )
    loop_yaw_std: float = setting(0.003, "Radians, the same", TINY, LARGE)
    position_damping: float = setting(
        1.0 / 10.0**2, "1/m^2: a pose stays near where it was unless something pulls", TINY, LARGE
    )
    yaw_damping: float = setting(1.0, "1/rad^2: the same", TINY, LARGE)


@dataclass(frozen=True)
class TokensConfig(Checked):
    """What an embedding keeps of its place, and what a view brings."""

    tokens: int = setting(64, "M, tokens of an embedding", 8, 4096)
    view_tokens: int = setting(400, "Tokens of a view, and of an embedding while it is new", 8, 4096)
    dim: int = setting(32, "D, of a token's descriptor; even", 2, 64)
    view_pixels: int = setting(384 * 288, "Area at which an image is read out", 4096, 10**7)
    photo_coarse: float = setting(
        0.85, "Scale at which another camera's photo is read out, as a share of that of the frames", 0.1, 10.0
    )
    photo_fine: float = setting(1.25, "The same, a second time", 0.1, 10.0)
    photo_tokens: int = setting(250, "Tokens of such a photo by each of the two", 8, 4096)
    noise: float = setting(0.006, "Radians, deviation of a bearing", TINY, 1.0)
    prior_depth: float = setting(0.25, "1/m, inverse depth of a token that nothing is known of", TINY, 10.0)
    prior_depth_std: float = setting(0.3, "1/m, its deviation", TINY, 10.0)
    min_similarity: float = setting(0.7, "Of two descriptors that may show one point", -1.0, 1.0)
    cell: float = setting(0.1, "Radians across the squares over which kept tokens are spread", 0.01, 1.0)
    evidence: float = setting(
        0.08, "Quality that a token gains by a view that fits, and loses by one that does not", 0.0, 1.0
    )
    placed_worth: float = setting(
        0.3, "Quality that a known distance is worth where tokens are chosen", 0.0, 1.0
    )
    max_deviations: float = setting(3.0, "Beyond which a match does not fit", TINY, LARGE)
    kernel: float = setting(
        1.0,
        "Deviations beyond which a match loses its say in a pose that is nearly known: what repeats fits a little everywhere",
        TINY,
        LARGE,
    )

    @property
    def photo_scales(self) -> tuple[float, ...]:
        """All scales at which another camera's photo is read out, as shares of that of the frames."""
        return self.photo_coarse, self.photo_fine


@dataclass(frozen=True)
class WindowConfig(Checked):
    """The newest views, which are kept with all their tokens until parallax has placed them."""

    size: int = setting(8, "Views", 1, 64)
    min_distance: float = setting(
        0.05, "Metres between two views, below which they have no parallax", TINY, LARGE
    )
    min_matches: int = setting(20, "Matches from which a view's tilt can be judged", 6, 10**6)
    min_level: int = setting(
        15, "Matches that must fit a level camera, or its tilt stays the last view's", 1, 10**6
    )
    tilt_gain: float = setting(
        1.2, "A tilt is believed where so many times more matches fit with it than without", 1.0, LARGE
    )
    min_fit: int = setting(8, "... and so many more", 0, 10**6)
    min_continued: int = setting(
        8, "Tokens of a view that fit those before; with fewer the robot may have been lifted", 0, 10**6
    )
    planar_std: float = setting(0.02, "Metres, of the odometry between views of the window", TINY, LARGE)
    yaw_std: float = setting(0.01, "Radians, the same", TINY, LARGE)
    heading_by_sight: bool = True  # the odometry's heading is corrected by what is seen, as far as it errs
    inflation: float = setting(
        2.0, "Of the variance of a heading by what is seen: matches of one view err alike", 1.0, LARGE
    )
    turn_share: float = setting(
        0.005, "Of a turn by which its sight errs: cameras are not calibrated better", 0.0, 1.0
    )
    level_std: float = setting(0.003, "Radians, tilt of a camera on a level robot", TINY, LARGE)
    rise_std: float = setting(0.005, "Metres, height of a camera on a level robot", TINY, LARGE)
    tilt_std: float = setting(0.25, "Radians, of a camera that nods", TINY, LARGE)
    height_std: float = setting(0.1, "Metres, of a camera that bobs", TINY, LARGE)
    levelled_roll: float = setting(
        0.1,
        "Share of a view's roll by which it and the window are turned back towards level: each tilt builds on those "
        "before, and their errors must not add up",
        0.0,
        1.0,
    )
    levelled_pitch: float = setting(0.02, "The same of its pitch: a head is pitched for longer", 0.0, 1.0)
    levelled_height: float = setting(0.1, "The same of its height", 0.0, 1.0)


@dataclass(frozen=True)
class FoldConfig(Checked):
    """When two embeddings become one."""

    max_distance: float = setting(
        0.3, "Metres between a view and an old embedding that takes it in", TINY, LARGE
    )
    max_angle: float = setting(0.26, "Radians, the same", TINY, math.pi)
    min_matches: int = setting(8, "Tokens that two embeddings of one place share", 0, 10**6)
    max_bearing: float = setting(0.1, "Radians between two tokens of one point", TINY, math.pi)
    max_blur: float = setting(
        0.05, "Radians to which a token's bearing elsewhere must be known", TINY, math.pi
    )
    count_cost: float = setting(
        0.02, "Of each view in an embedding: what was seen often is merged late", 0.0, LARGE
    )
    compared: int = setting(
        16, "Embeddings with the nearest neighbours, whose tokens are compared with these", 1, 65536
    )
    no_overlap: float = setting(
        0.1, "Share of common tokens that makes a merge half as dear as none at all", TINY, 1.0
    )


@dataclass(frozen=True)
class RevisitConfig(Checked):
    """When an old place in the present view corrects the odometry's drift."""

    enabled: bool = True
    candidates: int = setting(12, "Embeddings around the expected place that are matched", 1, 65536)
    max_distance: float = setting(2.5, "Metres from where odometry expects the robot", TINY, LARGE)
    max_angle: float = setting(1.05, "Radians between the headings", TINY, math.pi)
    max_turn: float = setting(0.35, "Radians from the heading that odometry expects", TINY, math.pi)
    min_age: int = setting(30, "Updates since the place was last written", 1, 10**9)
    iterations: int = setting(1000, "Most samples of a robust solver", 1, 10**6)
    min_inliers: int = setting(15, "Tokens of the view that fit", 4, 10**6)
    max_std: float = setting(
        0.035, "Metres, of the position; of less certain ones many are wrong", TINY, LARGE
    )
    tilt_std: float = setting(0.1, "Radians, of a view that has been levelled", TINY, LARGE)
    height_std: float = setting(0.2, "Metres, of its camera's height", TINY, LARGE)
    max_tilt: float = setting(0.1, "Radians by which the pose may tilt it", TINY, math.pi)
    max_deviations: float = setting(
        4.0, "Of the odometry's drift and the loop's own error, beyond which it is not believed", TINY, LARGE
    )
    inflation: float = setting(4.0, "Of the variance: matches of one view err alike", 1.0, LARGE)
    position_std: float = setting(0.015, "Metres, of an embedding's own tokens", 0.0, LARGE)
    yaw_std: float = setting(0.003, "Radians, the same", 0.0, LARGE)


@dataclass(frozen=True)
class SearchConfig(Checked):
    """How the place of a photo is found."""

    vote_tokens: int = setting(128, "Tokens of the photo, the strongest, that vote", 1, 4096)
    vote_stored: int = setting(32, "Tokens of each embedding, the best, that they vote for", 1, 4096)
    vote_similarity: float = setting(0.6, "From which a vote counts", -1.0, 1.0)
    shortlist: int = setting(48, "Embeddings whose tokens are matched", 1, 65536)
    hypotheses: int = setting(6, "Groups of embeddings from which a pose is sought", 1, 1024)
    min_strength: float = setting(
        0.3, "Matches of a group, as a share of the strongest group's, for which a pose is sought", 0.0, 1.0
    )
    verified: int = setting(4, "Poses that are looked at again", 1, 1024)
    min_hits: float = setting(
        0.3,
        "Matches that agree on a pose, as a share of the best pose's, from which it is looked at again",
        0.0,
        1.0,
    )
    same_distance: float = setting(
        0.2,
        "Metres within which two poses lead to one, and only the better one is looked at again",
        0.0,
        LARGE,
    )
    same_angle: float = setting(0.1, "Radians, the same", 0.0, math.pi)
    group_distance: float = setting(2.0, "Metres within which embeddings answer together", TINY, LARGE)
    group_angle: float = setting(1.05, "Radians, the same", TINY, math.pi)
    iterations: int = setting(300, "Most samples of a robust solver", 1, 10**6)
    tolerance: float = setting(0.02, "Radians, of a match that agrees", TINY, 1.0)
    nearby: int = setting(16, "Embeddings around a pose by which it is verified", 1, 65536)
    nearby_distance: float = setting(4.0, "Metres", TINY, LARGE)
    nearby_angle: float = setting(1.4, "Radians", TINY, math.pi)
    min_located: int = setting(5, "Matches of known distance, fewer than which give no position", 4, 10**6)
    usual_depth: float = setting(
        0.4,
        "1/m, mean inverse depth in rooms, taken for that of a token that nothing is known of; in the window a smaller "
        "one, tokens.prior_depth, keeps a nodding camera's tilt steadier",
        TINY,
        10.0,
    )
    one_spot: float = setting(0.2, "Metres within which directions are as if seen from one spot", TINY, LARGE)
    first_distance: float = setting(
        0.6, "Metres to a photo at first, where directions alone tell whither it lies", TINY, LARGE
    )
    min_inliers: int = setting(5, "Tokens without which there is no answer", 4, 10**6)
    radius: float = setting(
        0.08, "Radians around where a token should be, at first; then half of it", TINY, 1.0
    )
    guided_similarity: float = setting(0.6, "Of a token that is where it should be", -1.0, 1.0)
    own_tilt_std: float = setting(0.2, "Radians, of the robot's own camera: a head nods", TINY, LARGE)
    own_height_std: float = setting(0.3, "Metres, the same", TINY, LARGE)
    other_tilt_std: float = setting(0.25, "Radians, of another camera", TINY, LARGE)
    other_height: float = setting(1.0, "Metres above the base, of another camera", -10.0, 10.0)
    other_height_std: float = setting(0.7, "Metres, its deviation", TINY, LARGE)
    max_distance: float = setting(8.0, "Metres between a photo and the embedding that knows it", TINY, LARGE)
    coverage_cell: float = setting(
        0.12, "Radians across the squares in which the photo is or is not explained", 0.01, 1.0
    )
    distinct_distance: float = setting(1.0, "Metres from which two answers are alternatives", TINY, LARGE)
    distinct_angle: float = setting(math.radians(30.0), "Radians, the same", TINY, math.pi)


@dataclass(frozen=True)
class ComparisonConfig(Checked):
    """When the camera's view is that of a photo, and when it is another place's."""

    min_tokens: int = setting(100, "Points of photo and view, with fewer of which nothing is said", 1, 4096)
    min_found: int = setting(60, "Points of the photo that the camera sees, where it is recognised", 4, 10**6)
    min_coverage: float = setting(0.35, "Share of the photo in which they lie, at least", 0.0, 1.0)
    max_std: float = setting(
        0.3,
        "Metres, of the photo's position, where it is recognised: with unknown distances much may fit",
        TINY,
        LARGE,
    )
    other_found: int = setting(50, "Points of the photo, with fewer of which it is another place", 0, 10**6)
    other_coverage: float = setting(0.2, "... in a smaller share of the photo than this", 0.0, 1.0)
    other_camera: float = setting(
        0.4, "Of both, where another camera took the photo: from another height it shares less", 0.0, 1.0
    )
    other_shared: int = setting(
        40,
        "Points of the photo that the view shows at whatever distances, with fewer of which alone it is another place",
        0,
        10**6,
    )
    min_known: int = setting(
        70,
        "Points of the view that the memory knows to be here, without which nothing is another place",
        0,
        10**6,
    )
    inflation: float = setting(4.0, "Of the pose's variance: matches of one photo err alike", 1.0, LARGE)


@dataclass(frozen=True)
class KinaemaConfig(Checked):
    """Validated on construction; ``ValueError`` names the field and its range.

    The memory is ``num_embeddings`` (N) embeddings, each anchored at a planar pose, of ``tokens.tokens`` (M) tokens.
    """

    num_embeddings: int = setting(512, "N", 2, MAX_EMBEDDINGS)
    tokens: TokensConfig = field(default_factory=TokensConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    fold: FoldConfig = field(default_factory=FoldConfig)
    revisit: RevisitConfig = field(default_factory=RevisitConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    pose_graph: PoseGraphConfig = field(default_factory=lambda: PoseGraphConfig(optimise_every=4))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KinaemaConfig:
        """From a checkpoint's or a user's nested mapping; what is missing keeps its default.

        Raises ``ValueError`` for an unknown name, a value of another type, or one out of range.
        """
        return from_dict(cls, values)

    def changed(self, changes: dict[str, Any]) -> KinaemaConfig:
        """A copy with the fields of a nested mapping, such as ``{"tokens": {"tokens": 64}}``, changed."""
        values = self.to_dict()
        for name, value in changes.items():
            values[name] = values.get(name, {}) | value if isinstance(value, dict) else value
        return KinaemaConfig.from_dict(values)

    def of_size(self, num_embeddings: int) -> KinaemaConfig:
        """A copy with so many embeddings. ``InputError`` for a number that makes no useful memory."""
        if not MIN_EMBEDDINGS <= num_embeddings <= MAX_EMBEDDINGS:
            raise InputError(
                f"num_embeddings is {num_embeddings}, must be in [{MIN_EMBEDDINGS}, {MAX_EMBEDDINGS}]"
            )
        return dataclasses.replace(self, num_embeddings=num_embeddings)

    def to_dict(self) -> dict[str, Any]:
        """A nested mapping, ready for JSON."""
        return dataclasses.asdict(self)


def from_dict(cls: type, values: Any, prefix: str = "") -> Any:
    """The configuration ``cls`` of a nested mapping. ``InputError`` for an unknown name or a value of another type."""
    if not isinstance(values, dict):
        raise InputError(f"configuration '{prefix.rstrip('.')}' must be a mapping, not {values!r}")
    types = typing.get_type_hints(cls)
    unknown = sorted(prefix + str(name) for name in values.keys() - types.keys())
    if unknown:
        raise InputError(f"unknown configuration fields: {', '.join(unknown)}")
    return cls(**{
        name: from_dict(types[name], value, f"{prefix}{name}.") if dataclasses.is_dataclass(types[name])
        else _checked(types[name], value, prefix + name)
        for name, value in values.items()
    })  # fmt: skip


def _checked(kind: type, value: Any, name: str) -> Any:
    """The value if its type is that of the field; a whole number may stand for a float."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{name} = {value!r} must be of type {kind.__name__}")
    return value
