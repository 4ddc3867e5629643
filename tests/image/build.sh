#!/usr/bin/env bash
# Builds the Dockerfile where there is neither a container engine nor a registry, with Debian's buildah, and proves what the image promises.
# The builder is a Debian 12 made by debootstrap with this machine's Rust toolchain in it. Needs root, buildah and debootstrap; takes as long as a
# build of the profile `dist` does.
#
#   [ARCH=arm64] [PROFILE=dev] tests/image/build.sh [FOLDER]    FOLDER for what it makes: some GB
#   PROVE=1 tests/image/build.sh FOLDER                         looks again at what was built there
#
# Another architecture than this machine's wants `rustup target add`, and Debian's qemu-user-static to be run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
native=$(dpkg --print-architecture)
arch=${ARCH:-$native} work=$(realpath -m "${1:-target/image}")
image=localhost/telegram-connector-operator:$arch
mkdir -p "$work/storage" "$work/run"
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$work/storage" --runroot "$work/run" "$@"; }

if ! buildah inspect --type image localhost/builder >/dev/null 2>&1; then
  root=$work/builder
  [ -d "$root/usr/bin" ] || debootstrap --variant=minbase --include=gcc,g++,libc6-dev,make,perl,ca-certificates,pkg-config bookworm "$root" >"$work/debootstrap.log"
  cp -a "$(rustc --print sysroot)" "$root/usr/local/toolchain"
  # The certificate authorities that this machine trusts: a registry of crates may be reached through a proxy.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  container=$(buildah from scratch)
  buildah add -q "$container" "$root" / >/dev/null
  buildah config --env PATH=/usr/local/toolchain/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CARGO_HOME=/usr/local/cargo "$container"
  buildah commit -q --rm "$container" localhost/builder >/dev/null
fi
[ -n "${PROVE:-}" ] || buildah bud --layers=false --build-arg BUILDER=localhost/builder --build-arg TARGETARCH="$arch" --build-arg PROFILE="${PROFILE:-dist}" -t "$image" .

container=$(buildah from "$image")
root=$(buildah mount "$container")
trap 'buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null' EXIT
failed=0
must() { # sentence, command...
  local what=$1; shift
  if "$@" >"$work/out" 2>&1; then echo "ok      $what"; else echo "FAILED  $what" >&2; cat "$work/out" >&2; failed=1; fi
}
config() { buildah inspect --type image --format "$1" "$image"; }
has() { [[ $1 == "$2" ]] || { echo "$1"; return 1; }; }
must "runs as 65532" has "$(config '{{.OCIv1.Config.User}}')" 65532:65532
must "starts run" has "$(config '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}}')" "[/usr/local/bin/telegram-connector-operator] [run]"
must "has no shell and no package manager" test -z "$(find "$root" \( -name sh -o -name '*bash' -o -name dash -o -name busybox -o -name apt -o -name dpkg \) ! -type d)"
must "has nothing that is setuid" test -z "$(find "$root" -perm /6000 -type f)"
must "has nothing that others may write but /tmp" test -z "$(find "$root" -perm -o=w ! -type l ! -path "$root/tmp")"
must "names its packages to scanners" test -s "$root/var/lib/dpkg/status.d/libc6"

# As the chart's Pod has it: a read-only root, /data and /tmp to write to, user 65532, no environment; nothing else of this machine but its network.
program=(/usr/local/bin/telegram-connector-operator) emulator=
if [ "$arch" != "$native" ]; then
  emulator=$(command -v "qemu-${arch/arm64/aarch64}-static")
  program=(/tmp/emulator "${program[@]}")
fi
inside() { # command...
  unshare --mount bash -euc '
    mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
    mount -t tmpfs -o mode=0770,uid=65532,gid=65532 none "$1/data"; mount -t tmpfs -o mode=1777 none "$1/tmp"
    [ -z "$2" ] || cp "$2" "$1/tmp/emulator"
    cd "$1"; shift 2; exec env -i /usr/sbin/chroot --userspec=65532:65532 . "$@"' bash "$root" "$emulator" "$@"
}
without_a_cluster() {
  ! inside "${program[@]}" run --store sqlite:/data/connectors.db 2>"$work/err" || return 1
  grep 'no cluster' "$work/err" || { cat "$work/err"; return 1; }
}
without_dev() { inside "${program[@]}" --help >"$work/help" && ! grep -q '^  demo' "$work/help"; }
must "has every library that the program is linked to" inside "${program[@]}" --version
must "prints its CRDs" inside "${program[@]}" crds
must "is without the feature dev" without_dev
must "starts on a read-only root, and says that there is no cluster" without_a_cluster
binary=$(stat -c %s "$root/usr/local/bin/telegram-connector-operator")
echo "size    $arch: $(du -sb "$root" | cut -f1) bytes unpacked, of it the binary $binary; $(tar -C "$root" -c . | gzip -9 | wc -c) bytes compressed"
exit "$failed"
