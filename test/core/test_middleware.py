"""Camera images fit through the middleware, unless the user has decided otherwise."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from kinaema_ros.middleware import fast_dds_settings


def test_fast_dds_gets_a_segment_that_a_raw_image_fits_into_and_keeps_udp_for_other_machines():
    ((name, path),) = fast_dds_settings({"HOME": "/root"}).items()
    assert name == "FASTDDS_DEFAULT_PROFILES_FILE"
    tree = ElementTree.parse(path)
    transports = {
        element.findtext("{*}type"): element.findtext("{*}segment_size")
        for element in tree.iter()
        if element.tag.endswith("}transport_descriptor")
    }
    assert set(transports) == {"SHM", "UDPv4"}
    assert int(transports["SHM"]) >= 4 * 1280 * 720 * 3
    assert Path(path).parts[-2:] == ("config", "fastdds.xml")


@pytest.mark.parametrize(
    "name",
    ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"],
)
def test_a_user_s_own_profile_stays(name: str):
    assert fast_dds_settings({name: "mine"}) == {}


def test_jazzy_knows_the_old_name_only():
    assert list(fast_dds_settings({"ROS_DISTRO": "jazzy"})) == ["FASTRTPS_DEFAULT_PROFILES_FILE"]
