"""TensorBoard's event files, read back by the package protobuf and by the checksums' standard."""

import struct
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from anymask.training.tensorboard_events import append_scalars, crc32c

KINDS = descriptor_pb2.FieldDescriptorProto


def event_message() -> type:
    """`Event` with the field numbers of TensorFlow's event.proto and summary.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    value = file.message_type.add(name="Value")
    value.field.add(name="tag", number=1, type=KINDS.TYPE_STRING, label=1)
    value.field.add(name="simple_value", number=2, type=KINDS.TYPE_FLOAT, label=1)
    summary = file.message_type.add(name="Summary")
    summary.field.add(
        name="value", number=1, type=KINDS.TYPE_MESSAGE, label=3, type_name=".t.Value"
    )
    event = file.message_type.add(name="Event")
    event.field.add(name="wall_time", number=1, type=KINDS.TYPE_DOUBLE, label=1)
    event.field.add(name="step", number=2, type=KINDS.TYPE_INT64, label=1)
    event.field.add(name="file_version", number=3, type=KINDS.TYPE_STRING, label=1)
    event.field.add(
        name="summary", number=5, type=KINDS.TYPE_MESSAGE, label=1, type_name=".t.Summary"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def unmasked(crc: int) -> int:
    """As TensorFlow's crc32c.h undoes its mask."""
    turned = (crc - 0xA282EAD8) & 0xFFFFFFFF
    return (turned >> 17 | turned << 15) & 0xFFFFFFFF


def events_of(path: Path) -> list[object]:
    data, events = path.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        of_size, of_body = (struct.unpack("<I", data[i : i + 4])[0] for i in (8, 12 + size))
        body = data[12 : 12 + size]
        assert unmasked(of_size) == crc32c(data[:8])
        assert unmasked(of_body) == crc32c(body)
        events.append(event_message().FromString(body))
        data = data[16 + size :]
    return events


def test_rows_become_scalars_of_their_step(tmp_path: Path) -> None:
    append_scalars(tmp_path / "events", 20, {"loss": 1.5, "step": 20, "norm": None, "ended": False})
    append_scalars(tmp_path / "events", 300, {"loss": 0.25})
    (path,) = (tmp_path / "events").iterdir()
    assert "tfevents" in path.name  # by which TensorBoard knows them
    version, first, second = events_of(path)
    assert version.file_version == "brain.Event:2"  # type: ignore[attr-defined]
    told = [(e.step, {v.tag: v.simple_value for v in e.summary.value}) for e in (first, second)]  # type: ignore[attr-defined]
    assert told == [(20, {"loss": 1.5, "step": 20.0}), (300, {"loss": 0.25})]


@pytest.mark.parametrize(
    ("data", "crc"),
    # RFC 3720, B.4
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_the_checksum_is_that_of_the_standard(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc
