"""The Debian root that all machines share, read-only: systemd, D-Bus, Python, etcd and little else.

Built by mmdebstrap from the host's own release and mirror, which apt's configuration names. What systemd would do on a
machine without screen, disks or internet is masked: a boot takes well under a second, and a machine at rest does nothing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from machines import cache, overlay

PACKAGES = (
    "busybox-static",
    "curl",
    "dbus",
    "dbus-user-session",
    "etcd-client",
    "etcd-server",
    "iproute2",
    "iputils-ping",
    "libfaketime",
    "libpam-systemd",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)
DOCKER_PACKAGES = ("docker.io", "iptables")

MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty.target",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
)
# Installed for tests that start them themselves.
DISABLED = ("etcd.service", "ssh.service")
DISABLED_DOCKER = ("containerd.service", "docker.service", "docker.socket")

USER = "argosy-user"
USER_ID = 1000

FILES = {
    # Journals are evidence: they survive a power cut, and no line is dropped.
    "etc/systemd/journald.conf.d/tests.conf": (
        "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nSystemMaxUse=256M\n"
    ),
    # A unit that a test leaves hanging does not hold up the machine's shutdown.
    "etc/systemd/system.conf.d/tests.conf": "[Manager]\nDefaultTimeoutStopSec=10s\n",
}

SETUP = f"""
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
useradd --create-home --uid {USER_ID} --shell /bin/bash {USER}
systemctl set-default multi-user.target
systemctl mask {" ".join(MASKED)}
systemctl disable {" ".join(DISABLED)}
mkdir -p /var/log/journal
rm -rf /etc/machine-id /var/lib/dbus/machine-id /etc/resolv.conf /etc/ssh/ssh_host_*
touch /etc/machine-id
"""


def base() -> Path:
    """The root's directory; builds it if this host has none of this recipe yet (20 to 60 s)."""
    release = _release()
    key = cache.digest(release, Path(__file__).read_bytes())
    return cache.built("root", key, lambda place: _build(place, release))


def docker(base: Path) -> Path:
    """The layer with Docker above the root."""
    key = cache.digest(base.name)
    return cache.built("docker", key, lambda layer: _install_docker(layer, base))


def _release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise LookupError(
        "the machines of the tests need a Debian host: /etc/os-release has no release"
    )


def _source(release: str) -> str:
    """The host's own Debian mirror, as a line for the new root's apt; internet may be no further than that."""
    form = "$(ORIGIN) $(RELEASE) $(COMPONENT)|$(REPO_URI)"
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    mirrors = dict(line.split("|", 1) for line in listed.splitlines())
    mirror = mirrors.get(f"Debian {release} main")
    if mirror is None:
        raise LookupError(f"apt knows no mirror of Debian {release} yet; run: apt-get update")
    return f"deb {mirror} {release} main"


def _build(place: Path, release: str) -> None:
    excluded = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--format=directory",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in excluded),
            "--dpkgopt=force-unsafe-io",
            f"--include={','.join(PACKAGES)}",
            release,
            str(place),
            _source(release),
        ],
        check=True,
    )
    for name, text in FILES.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    subprocess.run(["chroot", str(place), "sh", "-c", SETUP], check=True, capture_output=True)


def _install_docker(layer: Path, base: Path) -> None:
    """By the host's apt, because it knows the way to the mirror; the programs of the packages run in the root."""
    with overlay.writing(layer, lower=[base]) as tree:
        apt = ["apt-get", "-qq", f"-oDir={tree}", f"-oDPkg::Chroot-Directory={tree}"]
        chosen = ["-oDpkg::Use-Pty=0", "--no-install-recommends", *DOCKER_PACKAGES]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update"], ["install", "--yes", *chosen], ["clean"]):
            subprocess.run([*apt, *words], env=env, check=True, capture_output=True)
        subprocess.run(
            ["chroot", str(tree), "systemctl", "disable", *DISABLED_DOCKER],
            check=True,
            capture_output=True,
        )
