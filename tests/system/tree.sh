#!/usr/bin/env bash
# Make the file tree of a small Debian of this machine's own release: tree.sh FOLDER. Takes a minute.
set -euo pipefail

. /etc/os-release
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    if [[ -e $file ]] && grep -q "^[^#]*$VERSION_CODENAME" "$file" && grep -q debian "$file"; then
        sources+=("$file")
    fi
done
# shellcheck disable=SC2016
mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=systemd,systemd-sysv,dbus,python3,python3-venv,procps,softhsm2 \
    --customize-hook='for unit in console-getty.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer \
        dpkg-db-backup.timer fstrim.timer; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done' \
    --customize-hook=': >"$1/etc/machine-id"; mkdir -p "$1/var/log/journal"; echo site >"$1/etc/hostname"' \
    --customize-hook='mkdir -p "$1/etc/systemd/journald.conf.d"; printf "[Journal]\nRateLimitBurst=0\nSyncIntervalSec=1s\n" \
        >"$1/etc/systemd/journald.conf.d/tests.conf"' \
    "$VERSION_CODENAME" "$1" "${sources[@]}"
