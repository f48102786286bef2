"""An RTSP server on loopback that sends frames on command.

It runs in the system's Python, because it needs GStreamer's bindings. Each line on standard input
is a command: a number N sends N frames, and `WIDTHxHEIGHT` changes the size. Each frame shows its
number as a bar code (see `live.stamp`). `python rtsp_server.py PORT NUMBER FIRST` starts with this
number, sends FIRST frames to the first client, and prints its port when it is listening.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

BITS = 16
Gst.init(None)


class Sender:
    """Numbers frames and passes them to the pipeline of the connected client."""

    def __init__(self):
        self.source, self.number, self.size = None, int(sys.argv[2]), (320, 240)

    def configure(self, factory, media):
        self.source = media.get_element().get_child_by_name("source")
        self.resize(self.size)
        self.send(int(sys.argv[3]))

    def resize(self, size):
        self.size = size
        caps = f"video/x-raw,format=I420,width={size[0]},height={size[1]},framerate=25/1"
        if self.source:
            self.source.set_property("caps", Gst.Caps.from_string(caps))

    def send(self, count):
        width, height = self.size
        for _ in range(count):
            row = b"".join(
                (b"\xeb" if self.number >> bit & 1 else b"\x10") * (width // BITS)
                for bit in range(BITS)
            )
            if self.source:
                self.source.emit(
                    "push-buffer",
                    Gst.Buffer.new_wrapped(row * height + b"\x80" * (width * height // 2)),
                )
            self.number += 1

    def obey(self):
        for line in sys.stdin:
            words = line.strip().split("x")
            GLib.idle_add(
                self.resize if len(words) == 2 else self.send,
                tuple(map(int, words)) if len(words) == 2 else int(words[0]),
            )
        GLib.idle_add(loop.quit)


sender, loop = Sender(), GLib.MainLoop()
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( appsrc name=source is-live=true format=time do-timestamp=true"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10"
    " pass=quant quantizer=20 threads=1"
    " ! rtph264pay name=pay0 config-interval=-1 )"
)
factory.set_shared(True)
factory.connect("media-configure", sender.configure)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
sys.stdout.write(f"{server.get_bound_port()}\n")
sys.stdout.flush()
threading.Thread(target=sender.obey, daemon=True).start()
loop.run()
