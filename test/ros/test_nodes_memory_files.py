"""What memory_node writes and reads for ~/save and ~/load: names, in one folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.memory import files


def a_memory() -> Mock:
    return Mock(save=lambda path, odom: path.write_text("remembered"))


@pytest.mark.parametrize("name", ["home", "home.safetensors"])
def test_a_memory_is_saved_below_the_folder_which_is_made_for_the_user_alone(tmp_path: Path, name) -> None:
    folder = tmp_path / "ros" / "kinaema"
    path = files.save(a_memory(), str(folder), name)
    assert path == folder / "home.safetensors"
    assert path.read_text() == "remembered"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files.saved(str(folder), "home") == files.saved(str(folder), "home.safetensors") == path


@pytest.mark.parametrize("name", ["Küche 2", "2nd_floor", "home.v2+test-1", "n" * 50, "あ" * 50])
def test_names_as_people_give_them_are_taken(tmp_path: Path, name) -> None:
    assert files.saved(str(tmp_path), str(files.save(a_memory(), str(tmp_path), name).name)).is_file()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".hidden",
        " x",
        "-x",
        "x\0y",
        "x\n",
        "n" * 51,
        "~",
        "$HOME",
    ],
)
def test_what_is_no_name_is_refused_before_anything_is_written(tmp_path: Path, name) -> None:
    folder = tmp_path / "kinaema"
    for attempt in (
        lambda: files.save(a_memory(), str(folder), name),
        lambda: files.saved(str(folder), name),
    ):
        with pytest.raises(
            KinaemaError, match=rf"is no name of a memory.*lies in {folder} \(parameter memory_dir"
        ):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_the_folder_is_followed_neither_way_and_one_within_it_may_be_read(
    tmp_path: Path,
) -> None:
    folder, outside = tmp_path / "kinaema", tmp_path / "outside.safetensors"
    outside.write_text("not ours")
    files.save(a_memory(), str(folder), "home")
    (folder / "out.safetensors").symlink_to(outside)
    (folder / "dangling.safetensors").symlink_to(tmp_path / "new.safetensors")
    (folder / "latest.safetensors").symlink_to("home.safetensors")
    for name in ("out", "dangling"):
        with pytest.raises(KinaemaError, match="is a link out of its folder"):
            files.save(a_memory(), str(folder), name)
        with pytest.raises(KinaemaError, match="is a link out of its folder"):
            files.saved(str(folder), name)
    assert outside.read_text() == "not ours"
    assert not (tmp_path / "new.safetensors").exists()
    assert files.saved(str(folder), "latest").read_text() == "remembered"


def test_where_there_is_no_such_memory_those_that_there_are_are_named(tmp_path: Path) -> None:
    with pytest.raises(KinaemaError, match=r"no .*home\.safetensors; of the memories there are: none"):
        files.saved(str(tmp_path / "absent"), "home")
    for name in ("office", "lab"):
        files.save(a_memory(), str(tmp_path), name)
    with pytest.raises(
        KinaemaError, match=r"no .*home\.safetensors; of the memories there are: lab, office$"
    ):
        files.saved(str(tmp_path), "home")


def test_a_folder_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    full = Mock()
    full.save.side_effect = OSError(28, "No space left on device", "x.partial")
    for memory, folder, why in (
        (a_memory(), tmp_path / "a file", "File exists"),
        (a_memory(), tmp_path / "a file" / "below", "Not a directory"),
        (full, tmp_path / "full", "No space left on device"),
    ):
        with pytest.raises(KinaemaError, match=rf"home\.safetensors cannot be written \({why}\).*memory_dir"):
            files.save(memory, str(folder), "home")


def test_a_folder_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(
        KinaemaError, match=r"home\.safetensors cannot be read \(Permission denied\); give access"
    ):
        files.saved(str(tmp_path), "home")


def test_the_default_folder_is_below_ros_home_or_the_user_s_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_HOME", "/data/ros")
    assert files.folder("") == Path("/data/ros/kinaema")
    monkeypatch.delenv("ROS_HOME")
    monkeypatch.setenv("HOME", "/home/ant")
    assert files.folder("") == Path("/home/ant/.ros/kinaema")
    assert files.folder("~/maps") == Path("/home/ant/maps")
    assert files.folder("maps") == Path(os.getcwd()) / "maps"


def test_without_a_home_the_parameter_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", str)  # as where neither HOME nor the user is known
    monkeypatch.delenv("ROS_HOME", raising=False)
    with pytest.raises(KinaemaError, match="no home directory; set the parameter memory_dir"):
        files.folder("")
