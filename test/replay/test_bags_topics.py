"""Which topics are taken, and what a user is told where that is not clear."""

from __future__ import annotations

import pytest

from kinaema_ros.replay.topics import BagError, Topic, choose_topics, list_topics

IMAGE = Topic("/camera/image_raw", "sensor_msgs/msg/Image", 100)
COMPRESSED = Topic("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", 100)
DEPTH = Topic("/camera/depth/image_raw", "sensor_msgs/msg/Image", 100)
DEPTH_PACKED = Topic("/camera/image_raw/compressedDepth", "sensor_msgs/msg/CompressedImage", 100)
INFO = Topic("/camera/camera_info", "sensor_msgs/msg/CameraInfo", 100)
REAR = Topic("/rear/image_raw", "sensor_msgs/msg/Image", 100)
REAR_INFO = Topic("/rear/camera_info", "sensor_msgs/msg/CameraInfo", 100)
ODOM = Topic("/odom", "nav_msgs/msg/Odometry", 500)
FILTERED = Topic("/odometry/filtered", "nav_msgs/msg/Odometry", 500)
TRUTH = Topic("/ground_truth/odom", "nav_msgs/msg/Odometry", 500)
GOAL = Topic("/goal_pose", "geometry_msgs/msg/PoseStamped", 1)
SCAN = Topic("/scan", "sensor_msgs/msg/LaserScan", 50)


def test_the_only_topics_of_their_types_are_found():
    chosen = choose_topics([SCAN, IMAGE, INFO, ODOM, TRUTH, GOAL, DEPTH, DEPTH_PACKED])
    assert (chosen.image, chosen.odom, chosen.truth, chosen.camera) == (IMAGE, ODOM, TRUTH, INFO)


def test_of_one_camera_the_transport_with_more_messages_is_taken():
    assert choose_topics([IMAGE, COMPRESSED, ODOM]).image == IMAGE
    sparse = Topic(IMAGE.name, IMAGE.type, 3)
    assert choose_topics([sparse, COMPRESSED, ODOM]).image == COMPRESSED
    empty = Topic(IMAGE.name, IMAGE.type, 0)
    assert choose_topics([empty, COMPRESSED, ODOM]).image == COMPRESSED


def test_the_camera_info_beside_the_image_is_taken():
    assert choose_topics([COMPRESSED, ODOM, REAR_INFO, INFO]).camera == INFO
    assert choose_topics([COMPRESSED, ODOM, REAR_INFO]).camera == REAR_INFO  # the only one
    assert choose_topics([REAR, ODOM, INFO, Topic("/x/camera_info", INFO.type, 1)]).camera is None


def test_a_named_topic_is_taken_whatever_else_there_is():
    topics = [IMAGE, REAR, ODOM, FILTERED, TRUTH, GOAL]
    chosen = choose_topics(topics, "/rear/image_raw", "goal_pose", "/odom")
    assert (chosen.image, chosen.odom, chosen.truth) == (REAR, GOAL, ODOM)


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ([IMAGE, REAR, ODOM], ["more than one image topic", "--image-topic", REAR.name, IMAGE.name]),
        ([IMAGE, ODOM, FILTERED], ["more than one odometry topic", "--odom-topic", ODOM.name, FILTERED.name]),
        ([SCAN, ODOM], ["no image topic", "sensor_msgs/msg/CompressedImage", SCAN.name, SCAN.type, "50"]),
        ([IMAGE, GOAL], ["no odometry topic", "nav_msgs/msg/Odometry", "--odom-topic NAME", GOAL.name]),
        ([IMAGE, TRUTH], ["no odometry topic", TRUTH.name]),
        ([], ["no image topic", "(nothing)"]),
    ],
)
def test_what_is_missing_or_unclear_is_said_with_what_there_is(topics, words):
    with pytest.raises(BagError) as error:
        choose_topics(topics)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/nowhere", ["--odom-topic /nowhere is not in the bag", ODOM.name, IMAGE.name]),
        ("/scan", ["/scan is of type sensor_msgs/msg/LaserScan", "nav_msgs/msg/Odometry"]),
        ("/silent", ["/silent has no messages"]),
    ],
)
def test_a_named_topic_that_cannot_be_it_is_refused(name, words):
    silent = Topic("/silent", "nav_msgs/msg/Odometry", 0)
    with pytest.raises(BagError) as error:
        choose_topics([IMAGE, ODOM, SCAN, silent], odom_topic=name)
    for word in words:
        assert word in str(error.value)


def test_the_list_has_name_type_and_count_of_every_topic():
    lines = list_topics([ODOM, SCAN]).splitlines()
    assert [line.split() for line in lines] == [[t.name, t.type, str(t.count)] for t in (ODOM, SCAN)]
