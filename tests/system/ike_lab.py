"""Two strongSwan daemons in two network namespaces: an eNodeB that starts the tunnel, and a security gateway.

The daemons are Debian's charon-systemd, started directly, each with a configuration, vici socket and /run of its own.
User-space ESP (kernel-libipsec) carries the traffic, so any kernel with /dev/net/tun will do. Nothing here touches the
machine's own addresses: the only link is a veth pair between the two namespaces.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import vici

from tests.station import until

CHARON = "/usr/sbin/charon-systemd"
_PLUGINS = (
    "random nonce openssl hmac kdf pem pkcs1 pkcs8 x509 revocation constraints pubkey pkcs11 kernel-libipsec "
    "kernel-netlink socket-default vici updown counters"
)
# send_delay: as docs/deployment.md says, an old SA is deleted (INFORMATIONAL, 37) when what was sent on it has arrived.
_STREAM = Path(__file__).with_name("stream.py")
_SWANCTL = (
    "x509", "x509ca", "x509crl", "x509ocsp", "x509aa", "x509ac", "pubkey", "private", "rsa", "ecdsa", "bliss", "pkcs8",
    "pkcs12", "conf.d",
)  # fmt: skip
_STRONGSWAN = """
charon-systemd {{
  load = {plugins}
  make_before_break = {make_before_break}
  {extra}
  retransmit_tries = 2
  retransmit_timeout = 1.0
  install_routes = yes
  send_delay = 300
  send_delay_type = 37
  send_delay_response = no
  filelog {{ log {{ path = {directory}/charon.log
      default = 1
      flush_line = yes }} }}
  journal {{ default = -1 }}
  plugins {{
    vici {{ socket = unix://{directory}/vici }}
    kernel-libipsec {{ load = yes }}
    pkcs11 {{ modules {{ softhsm {{ path = /usr/lib/softhsm/libsofthsm2.so }} }} }} }}
}}
"""
_CONNECTION = """
connections {{
  {name} {{
    local_addrs = {local}
    {remote_addrs}
    version = 2
    encap = yes
    unique = no
    proposals = aes256gcm16-prfsha384-ecp384
    local {{ auth = pubkey
            id = {own} }}
    remote {{ auth = pubkey
             id = {other}
             revocation = relaxed }}
    children {{ s1 {{ local_ts = {inner}/32
                    remote_ts = {other_inner}/32
                    start_action = none
                    esp_proposals = aes256gcm16-ecp384 }} }}
  }}
}}
"""


@dataclass
class Side:
    """One end of the tunnel."""

    directory: Path
    namespace: str
    connection: str
    inner: str
    environment: dict[str, str] = field(default_factory=dict)
    make_before_break: bool = True
    extra: str = ""
    """Further lines for charon-systemd's section of strongswan.conf."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "vici"

    def write(self, connections: str) -> None:
        """Make its directories and configuration."""
        for name in _SWANCTL:
            (self.directory / "swanctl" / name).mkdir(parents=True)
        (self.directory / "swanctl" / "swanctl.conf").write_text(connections)
        text = _STRONGSWAN.format(
            plugins=_PLUGINS,
            directory=self.directory,
            make_before_break="yes" if self.make_before_break else "no",
            extra=self.extra,
        )
        (self.directory / "strongswan.conf").write_text(text)

    def start(self) -> None:
        """Start charon and give it its connections, as strongswan.service does."""
        self.socket.unlink(missing_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "STRONGSWAN_CONF": str(self.directory / "strongswan.conf"),
            "SWANCTL_DIR": str(self.directory / "swanctl"),
        } | self.environment
        with (self.directory / "stdout").open("ab") as output:
            self.process = subprocess.Popen(
                # `ip netns exec` gives a mount namespace too: each daemon keeps its pid file in a /run of its own.
                ["ip", "netns", "exec", self.namespace, "sh", "-c", f"mount -t tmpfs tmpfs /run; exec {CHARON}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(self._answers)
        self.swanctl("--load-conns")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "stdout").read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def kill(self) -> None:
        """Let it die at once: no goodbye to its peer."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    @contextmanager
    def catching_what_comes_early(self) -> Iterator[None]:
        """Give charon again what came before it could read it, as docs/deployment.md says."""
        with self.running("-I", "-m", "agent.deploy.early", "--vici", str(self.socket)) as process:
            assert process.stdout.readline().startswith(b"watching")
            yield
            assert process.poll() is None

    @contextmanager
    def running(self, *arguments: str) -> Iterator[Any]:
        """Run Python with these arguments in this namespace during the block."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def swanctl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["swanctl", *arguments, "--uri", f"unix://{self.socket}"],
            env={"PATH": os.environ["PATH"], "SWANCTL_DIR": str(self.directory / "swanctl"),
                 "STRONGSWAN_CONF": str(self.directory / "strongswan.conf")},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    @contextmanager
    def session(self) -> Iterator[vici.Session]:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(20)
            connected.connect(str(self.socket))
            yield vici.Session(connected)

    def established(self) -> list[str]:
        """The unique ids of the IKE SAs that are up and carry a tunnel."""
        with self.session() as session:
            return [
                one["uniqueid"].decode()
                for listed in session.list_sas()
                for one in listed.values()
                if one["state"] == b"ESTABLISHED" and one["child-sas"]
            ]

    def keys(self) -> list[str]:
        """The identifiers of the private keys it holds."""
        with self.session() as session:
            return [one.decode() for one in session.get_keys()["keys"]]

    def trust(self, root: bytes) -> None:
        """Have it trust a root (PEM)."""
        with self.session() as session:
            session.load_cert({"type": "X509", "flag": "CA", "data": root})

    def serials(self) -> set[str]:
        """The serial numbers of the end entity certificates it knows, its own and its peer's."""
        return {one.replace(":", "") for one in re.findall(r"serial: +([0-9a-f:]+)", self.swanctl("--list-certs"))}

    @property
    def log(self) -> str:
        return (self.directory / "charon.log").read_text(errors="replace")


@dataclass
class IkeLab:
    """The eNodeB, the security gateway, and the link between them."""

    enb: Side
    seg: Side

    @contextmanager
    def streams(self) -> Iterator[dict[str, tuple[int, int]]]:
        """Send a hundred datagrams a second each way during the block.

        What is given holds, after the block, how many were sent and how many arrived: ``uplink`` is from the eNodeB.
        """
        counted: dict[str, tuple[int, int]] = {}
        ways = {"uplink": (self.enb, self.seg), "downlink": (self.seg, self.enb)}
        with ExitStack() as stack:
            receivers, senders = {}, {}
            for name, (source, sink) in ways.items():
                receivers[name] = stack.enter_context(sink.running(str(_STREAM), "receive", sink.inner, "5004"))
                assert receivers[name].stdout.readline() == b"ready\n"
                senders[name] = stack.enter_context(
                    source.running(str(_STREAM), "send", source.inner, sink.inner, "5004")
                )
            yield counted
            for name in ways:
                senders[name].terminate()
                said, _ = receivers[name].communicate(timeout=60)
                sent, arrived = said.split()
                counted[name] = int(sent), int(arrived)

    def reaches(self) -> bool:
        """Whether a packet goes through the tunnel and back."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.enb.namespace, "ping", "-q", "-c", "1", "-W", "2",
             "-I", self.enb.inner, self.seg.inner],
            capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        return done.returncode == 0


ENB_OUTER, SEG_OUTER = "10.45.0.1", "10.45.0.2"
ENB_INNER, SEG_INNER = "10.46.1.1", "10.46.2.1"


def enb_connection(name: str) -> str:
    """What swanctl reads at the eNodeB."""
    return _CONNECTION.format(
        name=name, local=ENB_OUTER, remote_addrs=f"remote_addrs = {SEG_OUTER}", own="enb1.ran.example",
        other="seg1.core.example", inner=ENB_INNER, other_inner=SEG_INNER,
    )  # fmt: skip


def _gateway(directory: Path) -> Side:
    seg = Side(directory, f"seg-{os.urandom(3).hex()}", "enbs", SEG_INNER)
    seg.write(_CONNECTION.format(
        name="enbs", local=SEG_OUTER, remote_addrs="", own="seg1.core.example", other="*.ran.example",
        inner=SEG_INNER, other_inner=ENB_INNER,
    ))  # fmt: skip
    return seg


def _addresses(inside: Sequence[str], link: str, outer: str, inner: str) -> None:
    """Give one end its addresses; ``inside`` is the command that goes there."""
    for arguments in (
        ("addr", "add", f"{outer}/24", "dev", link),
        ("addr", "add", f"{inner}/32", "dev", "lo"),
        ("link", "set", "lo", "up"),
        ("link", "set", link, "up"),
    ):
        subprocess.run([*inside, "ip", *arguments], check=True, timeout=20)


@contextmanager
def ike_lab(
    directory: Path, *, environment: dict[str, str] | None = None, make_before_break: bool = True, extra: str = ""
) -> Iterator[IkeLab]:
    """Make both namespaces, start both daemons; take everything away at the end."""
    with ExitStack() as stack:
        enb = Side(
            directory / "enb",
            f"enb-{os.urandom(3).hex()}",
            "gw",
            ENB_INNER,
            environment or {},
            make_before_break,
            extra,
        )
        enb.write(enb_connection("gw"))
        seg = _gateway(directory / "seg")
        for side in (enb, seg):
            _ip("netns", "add", side.namespace)
            stack.callback(_ip, "netns", "del", side.namespace)
        _ip("link", "add", "veth-e", "netns", enb.namespace, "type", "veth", "peer", "name", "veth-s", "netns",
            seg.namespace)  # fmt: skip
        for side, link, outer in ((enb, "veth-e", ENB_OUTER), (seg, "veth-s", SEG_OUTER)):
            _addresses(("ip", "netns", "exec", side.namespace), link, outer, side.inner)
            stack.callback(side.stop)
            side.start()
        yield IkeLab(enb, seg)


@contextmanager
def gateway_beside(directory: Path, leader: int) -> Iterator[Side]:
    """Make a gateway in a namespace of its own, and a link to it from that of process ``leader``, the eNodeB."""
    with ExitStack() as stack:
        seg = _gateway(directory)
        _ip("netns", "add", seg.namespace)
        stack.callback(_ip, "netns", "del", seg.namespace)
        _ip("link", "add", "veth-e", "netns", str(leader), "type", "veth", "peer", "name", "veth-s", "netns",
            seg.namespace)  # fmt: skip
        _addresses(("nsenter", f"--target={leader}", "--net"), "veth-e", ENB_OUTER, ENB_INNER)
        _addresses(("ip", "netns", "exec", seg.namespace), "veth-s", SEG_OUTER, SEG_INNER)
        stack.callback(seg.stop)
        seg.start()
        yield seg


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20)
