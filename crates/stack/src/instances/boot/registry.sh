
mkdir -p /var/lib/onspot-registry
cat >/etc/systemd/system/onspot-registry.service <<'@EOF@'
[Unit]
Description=Cache of images of the onspot stack @STACK@
Wants=network-online.target
Requires=docker.service
After=network-online.target docker.service
StartLimitIntervalSec=0

[Service]
ExecStartPre=-/usr/bin/docker rm -f onspot-registry
# It needs nothing of the instance's metadata; the hop limit says so as well.
ExecStartPre=-/bin/sh -c 'iptables -w -C DOCKER-USER -d 169.254.169.254 -j DROP 2>/dev/null || iptables -w -I DOCKER-USER -d 169.254.169.254 -j DROP'
ExecStart=/usr/bin/docker run --rm --name onspot-registry --publish @PORT@:5000 \
  --memory 256m --cpus 0.5 --cap-drop ALL --security-opt no-new-privileges --log-driver none \
  --volume /var/lib/onspot-registry:/var/lib/registry \
  --env REGISTRY_HTTP_ADDR=0.0.0.0:5000 \
  --env REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/var/lib/registry \
  --env REGISTRY_STORAGE_DELETE_ENABLED=true \
  --env REGISTRY_PROXY_REMOTEURL=@UPSTREAM@ \
  --env REGISTRY_LOG_LEVEL=warn \
  --env REGISTRY_LOG_ACCESSLOG_DISABLED=true \
  @IMAGE@
ExecStop=/usr/bin/docker stop onspot-registry
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
@EOF@
# What is over the size goes, all of it: the registry itself forgets only what is a week old.
cat >/etc/systemd/system/onspot-registry-size.service <<'@EOF@'
[Unit]
Description=Keeps the cache of images in its size

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'used=$$(du -sm /var/lib/onspot-registry | cut -f1); [ "$$used" -lt @SIZE_MB@ ] || { systemctl stop onspot-registry.service; rm -rf /var/lib/onspot-registry/*; systemctl start onspot-registry.service; }'
@EOF@
cat >/etc/systemd/system/onspot-registry-size.timer <<'@EOF@'
[Timer]
OnActiveSec=20s
OnUnitActiveSec=20s
AccuracySec=1s

[Install]
WantedBy=timers.target
@EOF@
@DAEMON_JSON@
start_registry() {
  need docker @DOCKER_PACKAGE@ || return
  if systemctl -q is-active docker.service; then
    systemctl reload docker.service || return
  else
    systemctl enable --now docker.service || return
  fi
  systemctl enable --now --no-block onspot-registry.service onspot-registry-size.timer
}
# Without it workers go to Docker Hub: that is no reason to end this instance.
start_registry || say "there is no cache of images: workers go to Docker Hub"
