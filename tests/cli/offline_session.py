"""What a user does in a day, as one program: python offline_session.py core|extras FOLDER.

Run by `test_network.py` in a network namespace of its own, where it switches on the loopback.
"""

import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path

API = """
import numpy, anymask
cat = anymask.sample("cat")
model = anymask.load("nano")
model.segment(cat, points=[(200, 200)]).save("api.mask.png")
model.everything(cat, grid=2)
model.find(cat, "cat")
"""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def switch_on_loopback() -> None:
    """As `ip link set lo up`, which not every machine has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        told = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack("16sh14x", told)[1] | IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


def anymask(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "anymask", *words], check=True)


def ask_server(image: Path) -> None:
    """Start a server, encode a photo there, and end it."""
    command = [sys.executable, "-u", "-m", "anymask", "serve", "--port", "0", "--model", "nano"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if found := re.search(r"http://[\w.:]+/", line):
                break
        else:
            sys.exit(f"no address came: {said}")
        try:
            request = urllib.request.Request(f"{found[0]}api/encode", image.read_bytes())
            with urllib.request.urlopen(request) as reply:
                assert reply.status == 200
        finally:
            server.terminate()
            server.stdout.read()


def use_extras(image: Path) -> None:
    """The packages of extras that would report their use."""
    from tests.find.tiny import write_grounding

    detector = write_grounding(Path("detector"))
    anymask("find", str(image), "cat", "--detector", str(detector), "--score", "0.01")


def use_core(image: Path) -> None:
    """What works with the five packages of the core, and the server."""
    subprocess.run([sys.executable, "-c", API], check=True)
    anymask("segment", "sample:cat", "--point", "200,200", "-o", "cut.png")
    anymask("everything", "photos", "--grid", "2", "--workers", "2", "-o", "all/")
    anymask("find", "sample:cat", "cat", "-o", "found.json")
    anymask("track", "photos", "--point", "0:1:200,200", "-o", "track.json")
    anymask("export", "nano", "-o", "bundle")
    example = [sys.executable, "bundle/example.py", str(image), "200", "200", "example.png"]
    subprocess.run(example, check=True)
    ask_server(image)


if __name__ == "__main__":
    switch_on_loopback()
    import anymask as package

    os.chdir(sys.argv[2])
    Path("photos").mkdir()
    for name in ("cat.jpg", "again.jpg"):
        shutil.copy(package.sample("cat"), f"photos/{name}")
    {"core": use_core, "extras": use_extras}[sys.argv[1]](Path("photos/cat.jpg"))
