"""The ROS 2 node on a mock of rclpy: a disc is clicked once and stays labeled while it moves."""

import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.scripts import loaded_script

ROS = Path(__file__).parents[2] / "contrib/ros2"


class Publisher:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def publish(self, message: Any) -> None:
        self.sent.append(message)


class Node:
    """What the node uses of `rclpy.node.Node`."""

    settings: dict[str, Any]

    def __init__(self, name: str) -> None:
        self.name, self.topics, self.errors = name, {}, []

    def declare_parameter(self, name: str, default: Any) -> Any:
        return SimpleNamespace(value=self.settings.get(name, default))

    def create_publisher(self, kind: type, topic: str, depth: int) -> Publisher:
        return self.topics.setdefault(topic, Publisher())

    def create_subscription(self, kind: type, topic: str, called: Any, quality: Any) -> None:
        self.topics[topic] = called

    def create_service(self, kind: type, name: str, called: Any) -> None:
        self.topics[name] = called

    def get_logger(self) -> Any:
        return SimpleNamespace(error=self.errors.append)


class Message(SimpleNamespace):
    pass


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the node, with mocks for the packages of ROS."""
    modules = {
        "rclpy": {}, "rclpy.node": {"Node": Node}, "rclpy.qos": {"qos_profile_sensor_data": 5},
        "geometry_msgs": {}, "geometry_msgs.msg": {"PointStamped": Message},
        "sensor_msgs": {}, "sensor_msgs.msg": {"Image": Message},
        "std_msgs": {}, "std_msgs.msg": {"String": Message},
        "std_srvs": {}, "std_srvs.srv": {"Empty": Message},
    }  # fmt: skip
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    with loaded_script(ROS / "anymask_ros/tracker.py") as module:
        yield module


def frame(number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    rows, columns = np.mgrid[:120, :160]
    truth = (rows - 60) ** 2 + (columns - 50 - 5 * number) ** 2 < 22**2
    noise = np.random.default_rng(number).integers(0, 12, (120, 160, 3))
    return (np.where(truth[..., None], (220, 60, 40), (40, 60, 70)) + noise).astype(np.uint8), truth


def image(pixels: NDArray[Any], encoding: str = "rgb8", padding: int = 0) -> Message:
    rows = pixels.reshape(len(pixels), -1)
    padded = np.pad(rows.view(np.uint8), ((0, 0), (0, padding)))
    return Message(
        header="stamp", height=len(pixels), width=pixels.shape[1], encoding=encoding,
        is_bigendian=0, step=padded.shape[1], data=padded.tobytes(),
    )  # fmt: skip


def labels_of(message: Message) -> NDArray[np.uint16]:
    assert (message.encoding, message.header) == ("mono16", "stamp")
    return np.frombuffer(message.data, "<u2").reshape(message.height, message.width)


@pytest.mark.parametrize("frames_per_session", [3000, 3])
def test_an_object_is_tracked_from_one_point(tracker: Any, frames_per_session: int) -> None:
    Node.settings = {"frames_per_session": frames_per_session}
    node = tracker.TrackerNode()
    send, labels = node.topics["image"], node.topics["labels"]
    send(image(frame(0)[0]))
    assert not labels_of(labels.sent[-1]).any()
    node.topics["point"](Message(point=Message(x=55.0, y=60.0)))
    for number in range(1, 6):
        pixels, truth = frame(number)
        if number in (1, 3):  # dropped alone; the object stays
            node.topics["point"](Message(point=Message(x=500.0, y=20.0)))
            node.topics["point"](Message(point=Message(x=float("nan"), y=20.0)))
            send(image(pixels, "yuv422"))
        send(image(np.ascontiguousarray(pixels[..., ::-1]), "bgr8", padding=4))
        mask = labels_of(labels.sent[-1]) == 1
        assert (mask & truth).sum() > 0.85 * (mask | truth).sum(), number
    (told,) = json.loads(node.topics["objects"].sent[-1].data)
    assert (told["id"], told["state"]) == (1, "visible")
    node.topics["reset"](None, None)
    send(image(frame(6)[0]))
    assert not labels_of(labels.sent[-1]).any()
    assert len(node.errors) == 6
    assert "Unsupported encoding 'yuv422'" in node.errors[0]
    assert "The point is dropped" in node.errors[1]


@pytest.mark.parametrize("encoding", ["mono8", "mono16", "rgba8"])
def test_encodings_give_the_same_picture(tracker: Any, encoding: str) -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    sent = {
        "mono8": gray, "mono16": gray.astype("<u2") * 256,
        "rgba8": np.dstack([gray, gray, gray, np.full_like(gray, 255)]),
    }[encoding]  # fmt: skip
    found = tracker.to_rgb(image(sent, encoding, padding=2))
    np.testing.assert_array_equal(found, np.repeat(gray[..., None], 3, 2))


def test_the_package_names_what_exists() -> None:
    from xml.etree import ElementTree as ET

    package = ET.parse(ROS / "package.xml").getroot()
    setup = (ROS / "setup.py").read_text("utf-8")
    name = package.findtext("name")
    assert f'NAME = "{name}"' in setup
    assert package.findtext("version") in setup
    assert (ROS / "resource" / str(name)).exists()
    assert "def main" in (ROS / str(name) / "tracker.py").read_text("utf-8")
