"""Which topics of a bag are the camera, the odometry and the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from kinaema_ros.errors import InputError

IMAGE = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO = ("sensor_msgs/msg/CameraInfo",)
ODOMETRY = ("nav_msgs/msg/Odometry",)
# Not taken for odometry unasked, for a goal or an initial pose has the same types.
POSE = (*ODOMETRY, "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")


class BagError(InputError):
    """A bag that cannot be used; the message says why and, where there is one, the remedy."""


class Picture(IntEnum):
    """What the images of a topic show; more is better."""

    DEPTH = 0
    GREY = 1  # of an infrared camera, beside a colour one
    COLOUR = 2


@dataclass(frozen=True)
class Topic:
    """A topic of a bag: its name, its ROS type, and the number of its messages."""

    name: str
    type: str
    count: int

    @property
    def camera_name(self) -> str:
        """The name without the transport that image_transport appends to it."""
        return self.name.removesuffix("/compressed")


def named_picture(topic: Topic) -> Picture:
    """What a topic's name tells of its images."""
    return Picture.DEPTH if "depth" in topic.name.lower() else Picture.COLOUR


@dataclass(frozen=True)
class ChosenTopics:
    """The topics that a replay reads; None where the bag has none of that kind."""

    image: Topic
    odom: Topic
    truth: Topic | None
    camera: Topic | None


def choose_topics(
    topics: list[Topic],
    image_topic: str | None = None,
    odom_topic: str | None = None,
    truth_topic: str | None = None,
    picture: Callable[[Topic], Picture] = named_picture,
) -> ChosenTopics:
    """Take the named topics, and for the others the only ones of the right type.

    Images: the camera with colour, else the grey one, never depth, as ``picture`` tells; of a raw and a compressed transport of one camera the one with
    more messages is taken, raw if they are even. Odometry: Odometry topics that are not ground truth.
    Ground truth: the only pose topic with "truth" in its name, none if there is none. Camera info: the one
    beside the image, else the only one. Raises BagError listing the bag's topics where this does not decide.
    """
    filled = [topic for topic in topics if topic.count]
    if image_topic is not None:
        image = _named(topics, image_topic, IMAGE, "--image-topic")
    else:
        image = _one_camera(topics, filled, picture)
    if odom_topic is not None:
        odom = _named(topics, odom_topic, POSE, "--odom-topic")
    else:
        candidates = [t for t in filled if t.type in ODOMETRY and not _is_truth(t)]
        odom = _only(topics, candidates, "odometry topic", ODOMETRY, "--odom-topic")
    truth: Topic | None = None
    if truth_topic is not None:
        truth = _named(topics, truth_topic, POSE, "--truth-topic")
    elif candidates := [t for t in filled if t.type in POSE and _is_truth(t)]:
        truth = _only(topics, candidates, "ground-truth topic", POSE, "--truth-topic")
    infos = [t for t in filled if t.type in CAMERA_INFO]
    beside = image.camera_name.rpartition("/")[0] + "/camera_info"
    camera = next((t for t in infos if t.name == beside), infos[0] if len(infos) == 1 else None)
    return ChosenTopics(image, odom, truth, camera)


def list_topics(topics: Iterable[Topic]) -> str:
    """The topics as an indented table of name, type and number of messages."""
    rows = list(topics)
    if not rows:
        return "  (nothing)"
    name_width, type_width = (max(len(getattr(t, key)) for t in rows) for key in ("name", "type"))
    return "\n".join(f"  {t.name:<{name_width}}  {t.type:<{type_width}}  {t.count:>8}" for t in rows)


def _is_truth(topic: Topic) -> bool:
    return "truth" in topic.name.lower()


def _one_camera(topics: list[Topic], filled: list[Topic], picture: Callable[[Topic], Picture]) -> Topic:
    shown = {topic: picture(topic) for topic in filled if topic.type in IMAGE}
    best = max(shown.values(), default=Picture.DEPTH)
    candidates = [topic for topic, kind in shown.items() if kind == best > Picture.DEPTH]
    if len({t.camera_name for t in candidates}) == 1:
        return max(candidates, key=lambda t: (t.count, t.type == IMAGE[0]))
    return _only(topics, candidates, "image topic", IMAGE, "--image-topic")


def _named(topics: list[Topic], name: str, types: tuple[str, ...], option: str) -> Topic:
    topic = next((t for t in topics if t.name == name or t.name == f"/{name}"), None)
    if topic is None:
        raise BagError(f"{option} {name} is not in the bag, which has:\n{list_topics(topics)}")
    if topic.type not in types:
        raise BagError(f"{option} {name} is of type {topic.type}; needed is {' or '.join(types)}")
    if not topic.count:
        raise BagError(f"{option} {name} has no messages; the bag has:\n{list_topics(topics)}")
    return topic


def _only(
    topics: list[Topic], candidates: list[Topic], what: str, types: tuple[str, ...], option: str
) -> Topic:
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise BagError(f"the bag has more than one {what}; choose with {option}:\n{list_topics(candidates)}")
    similar = "" if types != ODOMETRY else f" A pose topic can stand in for it: {option} NAME."
    raise BagError(f"the bag has no {what} ({' or '.join(types)}).{similar} It has:\n{list_topics(topics)}")
