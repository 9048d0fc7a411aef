
trap 'failed $? "$BASH_COMMAND"' ERR
# A boot that hangs ends as well, even if no manager is there to see it.
systemd-run --unit=onspot-boot-limit --on-active=45min systemctl poweroff >/dev/null 2>&1 || true
need curl curl
need openssl openssl
# Everything that is fetched comes at once.
@HELPER@
retry 60 get bin/onspot-@SHA256@ "$BIN/onspot" @SHA256@ &
program=$!
@DAEMON_JSON@
need docker @DOCKER_PACKAGE@
# An engine that runs already takes new settings without a restart.
if systemctl -q is-active docker.service; then
  systemctl reload docker.service
else
  systemctl enable --now docker.service
fi

mkdir -p -m 0755 /etc/onspot
cat >/etc/onspot/worker.toml <<'@EOF@'
@SETTINGS@
@EOF@
cat >/etc/systemd/system/onspot-worker.service <<'@EOF@'
[Unit]
Description=onspot worker of @STACK@
Wants=network-online.target
Requires=docker.service
After=network-online.target docker.service
StartLimitIntervalSec=0

[Service]
Type=notify
# Hop limit 1 keeps bridged containers from the instance's metadata; this does it again.
ExecStartPre=-/bin/sh -c 'iptables -w -C DOCKER-USER -d 169.254.169.254 -j DROP 2>/dev/null || iptables -w -I DOCKER-USER -d 169.254.169.254 -j DROP'
ExecStart=/usr/local/bin/onspot worker --config /etc/onspot/worker.toml
Restart=always
RestartSec=2
WatchdogSec=60
OOMScoreAdjust=-900
# Jobs run in Docker, not here: what is left here after the agent's end is nobody's.
KillMode=mixed
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target
@EOF@
cat >/etc/systemd/system/onspot-watchdog.service <<'@EOF@'
[Unit]
Description=Holds or kills jobs whose lease has ended
After=docker.service
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/local/bin/onspot watchdog --config /etc/onspot/worker.toml
Restart=always
RestartSec=1
OOMScoreAdjust=-1000

[Install]
WantedBy=multi-user.target
@EOF@
wait "$program"
chmod 0755 "$BIN/onspot"
@AWAIT_HELPER@
systemctl enable --now --no-block onspot-watchdog.service onspot-worker.service
systemctl stop onspot-boot-limit.timer >/dev/null 2>&1 || true
say "worker started"
