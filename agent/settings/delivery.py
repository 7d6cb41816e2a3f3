"""Settings of the consumers of a credential: whom it is delivered to, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from agent.settings.declaring import Format, section, setting


class OnFailure(StrEnum):
    """What becomes of the old credential when a consumer refuses the new one."""

    ROLLBACK = "rollback"
    KEEP = "keep"


class Layout(StrEnum):
    """Which files a consumer gets (``agent.deploy.layouts``)."""

    FILES = "files"
    SWANCTL = "swanctl"
    BUNDLE = "bundle"
    PKCS12 = "pkcs12"


class Switching(StrEnum):
    """How several files change together."""

    LINK = "link"
    FILES = "files"


_ON_FAILURE: Final = (
    "when the consumer refuses the new credential: bring the old one back everywhere and try again later, or keep the "
    "new one and go on trying"
)


@section
class StrongswanTarget:
    """Give the credential to strongSwan over vici."""

    vici: str = setting("charon's vici socket", default="/run/charon.vici", format=Format.SOCKET)
    connections: tuple[str, ...] = setting(
        "connections to re-authenticate with the new certificate, which proves it", default=(), example=["backhaul"]
    )
    initiate: bool = setting("start a connection that is down, where its peer's address is known", default=True)
    timeout: float = setting(
        "how long a new tunnel may take to come up", default=30.0, format=Format.DURATION, bounds=(1, 600)
    )
    module: str | None = setting(
        "for a key on a token: what strongswan.conf calls its PKCS#11 module", default=None, example="softhsm"
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.ROLLBACK)


@section
class FileNames:
    """What the files are called, below the directory; subdirectories must exist unless the layout makes them."""

    certificate: str | None = setting("the certificate", default=None, example="tls.crt")
    chain: str | None = setting("the certificates above it, without the root", default=None, example="chain.pem")
    full_chain: str | None = setting("the certificate and the chain in one file", default=None, example="fullchain.pem")
    trust_anchors: str | None = setting("the roots", default=None, example="ca.crt")
    private_key: str | None = setting("the private key, PKCS#8", default=None, example="tls.key")
    bundle: str | None = setting("key, certificate and chain in one file", default=None, example="server.pem")
    pkcs12: str | None = setting("everything in one PKCS#12 file", default=None, example="server.p12")


@section
class DirectoryTarget:
    """Write the credential as files for a consumer."""

    path: Path = setting("directory to write to; it must exist", example="/etc/ike")
    layout: Layout = setting(
        "which files: one each (and the full chain), those of swanctl, one PEM bundle, or PKCS#12", default=Layout.FILES
    )
    names: FileNames = setting("other names for the files; only those that the layout has", factory=FileNames)
    mode: str = setting("mode of the files", default="0640", format=Format.MODE)
    owner: str | None = setting("owner of the files; only root can give files away", default=None, example="root")
    group: str | None = setting(
        "group of the files; the user enrolld must be a member of it", default=None, example="ipsec"
    )
    switching: Switching = setting(
        "`link`: the names are links into a directory that is switched by one rename; `files`: each file is renamed "
        "into place, trust anchors first, then chain and key, the certificate last",
        default=Switching.LINK,
    )
    password: str | None = setting(
        "where the password of the PKCS#12 file comes from; never the password itself",
        default=None,
        example="credential:p12-password",
        format=Format.SECRET_SOURCE,
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.KEEP)


@section
class HookTarget:
    """Run a command when a new credential is installed."""

    command: tuple[str, ...] = setting(
        "program and arguments; no shell", example=["/usr/libexec/reload-ike"], bounds=(1, 64)
    )
    timeout: str = setting("how long it may take", default="30s", format=Format.DURATION, bounds=(1, 3600))
    user: str | None = setting(
        "user to run it as, where enrolld itself runs as root; never root without need", default=None, example="nobody"
    )
    on_failure: OnFailure = setting(_ON_FAILURE, default=OnFailure.KEEP)


@section
class DeployTarget:
    """One consumer of the credential: exactly one of the three."""

    strongswan: StrongswanTarget | None = setting("strongSwan over vici", default=None)
    directory: DirectoryTarget | None = setting("files in a directory", default=None)
    hook: HookTarget | None = setting("a command", default=None)

    @property
    def chosen(self) -> StrongswanTarget | DirectoryTarget | HookTarget:
        """The one that is given."""
        return next(one for one in (self.strongswan, self.directory, self.hook) if one is not None)

    @property
    def label(self) -> str:
        """What it is called in records and messages: ``strongswan /run/charon.vici``."""
        match self.chosen:
            case StrongswanTarget(vici=vici):
                return f"strongswan {vici}"
            case DirectoryTarget(path=path):
                return f"directory {path}"
            case HookTarget(command=command):
                return f"hook {command[0]}"
