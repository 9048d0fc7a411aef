
trap 'failed $? "$BASH_COMMAND"' ERR
need curl curl
need openssl openssl
say "fetching onspot"
retry 60 get bin/onspot-@SHA256@ "$BIN/onspot" @SHA256@
chmod 0755 "$BIN/onspot"

mkdir -p -m 0755 /etc/onspot
cat >/etc/onspot/manager.toml <<'@EOF@'
@SETTINGS@
@EOF@
cat >/etc/systemd/system/onspot-manager.service <<'@EOF@'
[Unit]
Description=onspot manager of @STACK@
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=/usr/local/bin/onspot manager --stack /etc/onspot/manager.toml
Restart=always
RestartSec=2
WatchdogSec=60
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
@EOF@
systemctl enable --now --no-block onspot-manager.service
say "manager started"
