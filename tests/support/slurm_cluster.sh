#!/usr/bin/env bash
# A real Slurm cluster of two nodes with accounting on one machine: `slurm_cluster.sh up|down FOLDER [NUMBER]`.
#
# Every slurmd has its own network, host name and mounts, so that nodes differ as machines do. Needs root. `up` installs
# Debian's packages where they are missing; `down` ends what `up` started, by its process ids. Clusters with different
# NUMBERs (0 to 199) may run side by side. FOLDER must be open to all: munge refuses another.
set -euo pipefail
verb=$1 folder=$2 number=${3:-0}
bridge=taosl$number network=10.77.$number
controller_port=$((17000 + number)) accounting_port=$((17200 + number))

end_node() {  # PROCESS: ends it and what it left in its network, which nobody else is in
  local network_of_node process
  network_of_node=$(readlink "/proc/$1/ns/net") || return 0
  [[ $network_of_node != "$(readlink /proc/self/ns/net)" ]] || return 0
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/ns/net" 2> /dev/null) != "$network_of_node" ]] || kill -KILL "${process#/proc/}" || true
  done
}

down() {
  local file
  for file in "$folder"/run/node-*.pid; do
    [[ ! -s $file ]] || end_node "$(cat "$file")"
  done
  for file in "$folder"/run/*.pid; do
    [[ ! -s $file ]] || kill -TERM "$(cat "$file")" 2> /dev/null || true
  done
  for file in "$folder"/run/*.pid; do
    [[ -s $file ]] || continue
    timeout 10 tail --pid="$(cat "$file")" -f /dev/null || kill -KILL "$(cat "$file")" 2> /dev/null || true
  done
  iptables -D FORWARD -i "$bridge" -o "$bridge" -j ACCEPT 2> /dev/null || true
  ip link delete "$bridge" 2> /dev/null || true
}

require_packages() {
  type -P slurmctld slurmd slurmdbd sbatch munged mariadbd ip iptables > /dev/null && return
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Nothing is to start by itself: policy-rc.d says so while the packages are set up.
  [[ -e /usr/sbin/policy-rc.d ]] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  apt-get install -y -qq --no-install-recommends \
    slurmctld slurmd slurmdbd slurm-client munge mariadb-server iproute2 iptables procps > /dev/null
}

until_true() {  # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  until "${@:2}" > /dev/null 2>&1; do
    ((SECONDS < deadline)) || { echo "This never came true: ${*:2}" >&2; return 1; }
    sleep 0.1
  done
}

start_munge() {
  (umask 077; head -c 128 /dev/urandom > "$folder/munge/key")
  munged --socket="$folder/run/munge.sock" --key-file="$folder/munge/key" --pid-file="$folder/run/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed"
}

start_accounting() {
  local socket=$folder/run/mysql.sock
  mariadb-install-db --no-defaults --user=root --datadir="$folder/database" --auth-root-authentication-method=socket \
    --skip-test-db > "$folder/log/mariadb-install.log" 2>&1
  mariadbd --no-defaults --user=root --datadir="$folder/database" --socket="$socket" --skip-networking \
    --pid-file="$folder/run/mariadb.pid" --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 \
    --innodb-flush-log-at-trx-commit=0 > "$folder/log/mariadb.log" 2>&1 < /dev/null &
  until_true 30 mariadb --socket="$socket" --user=root -e 'create database if not exists slurm_acct_db'
  (umask 077; cat > "$folder/etc/slurmdbd.conf") << CONF
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
DbdHost=localhost
DbdPort=$accounting_port
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/run/slurmdbd.pid
CONF
  MYSQL_UNIX_PORT=$socket slurmdbd
  until_true 30 sacctmgr --immediate --quiet show cluster
  sacctmgr --immediate --quiet add cluster "tao$number" > /dev/null
}

write_configuration() {
  # Nodes know each other by file: without a name server, a reverse look-up would take 10 s for each connection.
  sed 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf > "$folder/etc/nsswitch.conf"
  { cat /etc/hosts; echo "$network.1 controller"; echo "$network.11 n1"; echo "$network.12 n2"; } > "$folder/etc/hosts"
  cat > "$folder/etc/slurm.conf" << CONF
ClusterName=tao$number
SlurmctldHost=$(hostname -s)($network.1)
SlurmctldPort=$controller_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$accounting_port
AccountingStoragePass=$folder/run/munge.sock
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
KillWait=2
SlurmdParameters=config_overrides
JobSubmitPlugins=lua
Licenses=ansys:2
DefMemPerCPU=256
NodeName=n1 NodeAddr=$network.11 CPUs=2 RealMemory=4096
NodeName=n2 NodeAddr=$network.12 CPUs=2 RealMemory=4096
PartitionName=short Nodes=ALL Default=YES MaxTime=60 DefaultTime=10 State=UP
CONF
}

write_site_rules() {  # a plugin that refuses every job, for the reasons in etc/refusal, one a line; none lets it pass
  cat > "$folder/etc/job_submit.lua" << LUA
function slurm_job_submit(job, partitions, uid)
  local file = io.open("$folder/etc/refusal")
  if file == nil then return slurm.SUCCESS end
  for line in file:lines() do slurm.log_user("%s", line) end
  file:close()
  return slurm.ERROR
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
return slurm.SUCCESS
LUA
}

start_node() {  # NAME ADDRESS
  local outside=$bridge-$1 inside=$bridge-p$1
  ip link add "$outside" type veth peer name "$inside"
  ip link set "$outside" master "$bridge" up
  unshare --net --uts --mount --propagation slave bash -c '
    hostname "$1"; mount --bind "$2/etc/hosts" /etc/hosts; mount --bind "$2/etc/nsswitch.conf" /etc/nsswitch.conf
    ip link set lo up
    echo $BASHPID > "$2/run/node-$1.pid"
    until ip link show "$3" > /dev/null 2>&1; do sleep 0.02; done
    ip link set "$3" name eth0; ip address add "$4/24" dev eth0; ip link set eth0 up
    exec slurmd -D -N "$1"' _ "$1" "$folder" "$inside" "$2" > "$folder/log/node-$1.log" 2>&1 < /dev/null &
  until_true 5 test -s "$folder/run/node-$1.pid"
  ip link set "$inside" netns "$(cat "$folder/run/node-$1.pid")"
}

nodes_are_idle() { [[ $(sinfo --noheader --Node --format=%T | grep -c '^idle$') == 2 ]]; }

up() {
  require_packages
  mkdir -p "$folder"/{etc,run,log,state,munge,database,spool/n1,spool/n2}
  chmod 755 "$folder" "$folder"/{etc,run,log}
  chmod 700 "$folder"/{state,munge,database}
  start_munge
  write_configuration
  write_site_rules
  export SLURM_CONF=$folder/etc/slurm.conf
  ip link add "$bridge" type bridge
  ip address add "$network.1/24" dev "$bridge"
  ip link set "$bridge" up
  if command -v iptables > /dev/null; then  # where dockerd dropped what is forwarded, the bridge may talk to itself
    iptables -I FORWARD -i "$bridge" -o "$bridge" -j ACCEPT 2> /dev/null || true
  fi
  start_accounting
  slurmctld
  start_node n1 "$network.11"
  start_node n2 "$network.12"
  until_true 30 nodes_are_idle
  disown -a
  echo "$SLURM_CONF"
}

"$verb"
