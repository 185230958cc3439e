#!/usr/bin/env bash
# A real Docker daemon of its own on one machine: `docker_daemon.sh up|down|restart|kill|reload FOLDER`; `up` prints its
# DOCKER_HOST; `reload` has it read FOLDER/daemon.json again.
#
# Its socket, images and containers lie in FOLDER, and it touches neither the firewall nor the bridges of the machine:
# its containers have no network but `none` and `host`. It has one image, `tao-test:bare`, which is a root file system
# without programs: a test mounts /usr of the machine into it. Needs root. `up` installs Debian's docker.io where it is
# missing; `down` ends what `up` started, by its process ids.
set -euo pipefail
verb=$1 folder=$2
export DOCKER_HOST=unix://$folder/docker.sock

require_packages() (  # in a shell of its own, with which the lock ends
  exec 9> /var/lock/tao-test-packages  # tests may run side by side
  flock 9
  type -P dockerd docker containerd runc > /dev/null && exit
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Nothing is to start by itself: policy-rc.d says so while the packages are set up.
  [[ -e /usr/sbin/policy-rc.d ]] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  apt-get install -y -qq --no-install-recommends docker.io procps > /dev/null
)

until_true() {  # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  until "${@:2}" > /dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "This never came true: ${*:2}" >&2; tail -n 20 "$folder/dockerd.log" >&2; return 1; }
    sleep 0.05
  done
}

start() {
  [[ -e $folder/daemon.json ]] || echo '{}' > "$folder/daemon.json"
  dockerd --config-file "$folder/daemon.json" --host "$DOCKER_HOST" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" \
    --bridge none --iptables=false --ip-forward=false --ip-masq=false --userland-proxy=false \
    >> "$folder/dockerd.log" 2>&1 < /dev/null &
  disown -a
  until_true 30 docker version
}

end() {  # SIGNAL: ends the daemon, and waits until it is gone
  local process
  process=$(cat "$folder/dockerd.pid" 2> /dev/null) || return 0
  kill "-$1" "$process" 2> /dev/null || return 0
  timeout 40 tail --pid="$process" -f /dev/null || kill -KILL "$process" 2> /dev/null || true
  rm -f "$folder/dockerd.pid" "$folder/docker.sock"
}

end_containerd() {  # which a killed daemon leaves behind, with the containers
  local file=$folder/exec/containerd/containerd.pid
  [[ ! -s $file ]] || kill -TERM "$(cat "$file")" 2> /dev/null || true
}

bare_image() {
  local root=$folder/root name
  mkdir -p "$root"/{etc,usr,sbin,tmp,proc,sys,dev,root,var/tmp}  # sbin is a folder: docker puts its init there
  chmod 1777 "$root/tmp" "$root/var/tmp"
  for name in bin lib lib64; do
    [[ ! -L /$name ]] || ln -sfn "usr/$name" "$root/$name"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
  cp /etc/ld.so.cache "$root/etc/" 2> /dev/null || true
  tar -C "$root" -c . | docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin' \
    - tao-test:bare > /dev/null
}

down() {
  local left
  left=$(docker ps --quiet 2> /dev/null) || true
  [[ -z $left ]] || docker kill $left > /dev/null || true
  end TERM
  end_containerd
  awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount --lazy
}

up() {
  require_packages
  mkdir -p "$folder"
  start
  docker image inspect tao-test:bare > /dev/null 2>&1 || bare_image
  echo "$DOCKER_HOST"
}

restart() { end TERM; start; }
kill_daemon() { end KILL; }
reload() { kill -HUP "$(cat "$folder/dockerd.pid")"; }

case $verb in
  up | down | restart | start | reload) "$verb" ;;
  kill) kill_daemon ;;
esac
