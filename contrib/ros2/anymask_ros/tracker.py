"""A ROS 2 node that segments objects from points and tracks them through a camera stream.

Each point on the topic `point` starts an object on the next image. All objects are tracked until
`reset` is called. Topics are relative, so they can be remapped.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Empty

import anymask
from anymask.base import AnymaskError, PromptError

CHANNELS = {"mono8": 1, "mono16": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4}
RENEWED = 3000  # frames after which a new session continues from the current masks


class TrackerNode(Node):
    """Subscribes to `image` and `point`; publishes `labels`, `objects` and the service `reset`."""

    def __init__(self) -> None:
        super().__init__("anymask_tracker")
        name = self.declare_parameter("model", "nano").value
        self.renewed = int(self.declare_parameter("frames_per_session", RENEWED).value)
        self.model = anymask.load(name)
        self.session: Any = None
        self.waiting: list[tuple[float, float]] = []
        self.masks: dict[int, NDArray[np.bool_]] = {}
        self.last, self.frame = 0, -1
        self.source_image = np.zeros((1, 1, 3), np.uint8)  # the last one
        self.labels = self.create_publisher(Image, "labels", 10)
        self.objects = self.create_publisher(String, "objects", 10)
        self.create_subscription(Image, "image", self.on_image, qos_profile_sensor_data)
        self.create_subscription(PointStamped, "point", self.on_point, 10)
        self.create_service(Empty, "reset", self.on_reset)

    def on_point(self, message: Any) -> None:
        """Start an object at a pixel (x, y) of the next image."""
        self.waiting.append((message.point.x, message.point.y))

    def on_reset(self, request: Any, response: Any) -> Any:
        """Forget all objects."""
        self.forget()
        self.waiting.clear()
        return response

    def on_image(self, message: Any) -> None:
        """Track the objects into an image and publish their masks."""
        try:
            image = to_rgb(message)
        except ValueError as error:
            self.get_logger().error(f"{error} The image is skipped.")
            return
        try:
            found = self.track(image) if self.waiting or self.session is not None else {}
        except (AnymaskError, ValueError) as error:
            self.get_logger().error(f"{error} All objects are dropped.")
            self.forget()
            return
        height, width = image.shape[:2]
        labels = np.zeros((height, width), np.uint16)
        rows = []
        for number, one in found.items():
            self.masks[number] = mask = one.mask
            labels[mask] = number
            rows.append({"id": number, "state": one.state, "score": round(float(one.score), 4)})
        self.labels.publish(to_message(labels, message.header))
        self.objects.publish(String(data=json.dumps(rows)))

    def track(self, image: NDArray[np.uint8]) -> dict[int, Any]:
        """Masks of all objects on the next image."""
        if self.session is not None and self.frame + 1 >= self.renewed:
            self.renew()
        elif self.session is None:
            self.session = self.model.track(None)
        found = dict(self.session.step(image).objects)
        self.source_image, self.frame = image, self.frame + 1
        waiting, self.waiting = self.waiting, []
        for point in waiting:
            number = self.last + 1
            try:
                found[number] = self.session.add(frame=self.frame, id=number, points=[point])
                self.last = number
            except PromptError as error:
                self.get_logger().error(f"{error} The point is dropped.")
        return found

    def renew(self) -> None:
        """Continue in a new session, so that the memory of a long stream does not grow."""
        known = {number: mask for number, mask in self.masks.items() if mask.any()}
        last, image = self.last, self.source_image
        self.forget()
        self.last, self.session = last, self.model.track(None)
        self.session.step(image)
        for number, mask in known.items():
            self.session.add(frame=0, id=number, mask=mask)
        self.frame = 0

    def forget(self) -> None:
        """Close the session."""
        if self.session is not None:
            self.session.close()
        self.session, self.masks, self.last, self.frame = None, {}, 0, -1


def to_rgb(message: Any) -> NDArray[np.uint8]:  # -> (H, W, 3)
    """Convert a `sensor_msgs/Image` to RGB. Raises ValueError for other encodings."""
    if message.encoding not in CHANNELS:
        known = ", ".join(CHANNELS)
        raise ValueError(f"Unsupported encoding {message.encoding!r}. Publish one of {known}.")
    deep = message.encoding == "mono16"
    kind = np.dtype(">u2" if message.is_bigendian else "<u2") if deep else np.dtype(np.uint8)
    count = CHANNELS[message.encoding]
    rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.step)
    used = np.ascontiguousarray(rows[:, : message.width * count * kind.itemsize])
    pixels = used.view(kind).reshape(message.height, message.width, count)
    if deep:
        pixels = np.right_shift(pixels, 8).astype(np.uint8)
    if message.encoding.startswith("bgr"):
        pixels = pixels[..., [2, 1, 0]]
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if count == 1 else pixels[..., :3])


def to_message(labels: NDArray[np.uint16], header: Any) -> Any:
    """Convert object numbers (H, W) to a `sensor_msgs/Image` with encoding mono16."""
    message = Image()
    message.header = header
    message.height, message.width = labels.shape
    message.encoding, message.is_bigendian, message.step = "mono16", 0, 2 * labels.shape[1]
    message.data = labels.astype("<u2").tobytes()
    return message


def main() -> None:
    """Run the node until it is stopped."""
    rclpy.init()
    node = TrackerNode()
    try:
        rclpy.spin(node)
    finally:
        node.forget()
        node.destroy_node()
        rclpy.try_shutdown()
