#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs Fluentd, Elasticsearch and Kibana for real on a server that the collection provisions, and sends a line through all of it:
#   make lab-efk EFK_INVENTORY=inventories/staging      (a server of yours with 6 GB of memory, logging_backend: elasticsearch)
# Needs a registry that has the images. Ends with `ok`, or with one line that says what failed.
set -euo pipefail
cd "$(dirname "$0")/.."
inventory=${1:?"usage: lab/efk.sh INVENTORY"}
fail() { echo "lab-efk: FAILED: $*" >&2; exit 1; }
hub=$(ansible-inventory -i "$inventory" --list | python3 -c 'import json, sys; print(json.load(sys.stdin)["logging"]["hosts"][0])') || fail "the inventory has no group logging"
on_hub() { ansible "$hub" -i "$inventory" --become -m ansible.builtin.shell -a "$1" 2>&1; }
setting() { ansible "$hub" -i "$inventory" -m ansible.builtin.debug -a "msg={{ $1 }}" | sed -n 's/.*"msg": "\(.*\)".*/\1/p; s/.*msg: //p'; }

app=$(setting logging_app)
for variable in logging_elasticsearch_image logging_kibana_image logging_fluentd_image; do
  image=$(sed -n "s/^$variable: //p" roles/logging/defaults/main.yml)
  on_hub "docker image inspect $image >/dev/null 2>&1 || timeout 600 docker pull --quiet $image" >/tmp/efk.$$ || fail "$image cannot be had: $(tail -n 1 /tmp/efk.$$)"
  echo "image there: $image"
done
ansible-playbook site.yml -i "$inventory" -e logging_backend=elasticsearch || fail "site.yml"
ansible-playbook site.yml -i "$inventory" -e logging_backend=elasticsearch | tee /tmp/efk.$$ | tail -n 5
grep -q 'changed=[1-9]' /tmp/efk.$$ && fail "a second run changes something"

token=efk$(date +%s%N)
on_hub "systemd-cat --identifier=lab-efk echo '$token password=canary-of-the-lab'" >/dev/null
search="docker exec $app-elasticsearch sh -c 'printf \"user = \\\"elastic:%s\\\"\" \"\$(cat /run/secrets/elastic_password)\" >/tmp/l; \
  curl -sS -K /tmp/l --cacert config/certificates/http.crt \"https://localhost:9200/logs-$app-*/_search?q=message:$token\"; rm /tmp/l'"
for _ in $(seq 30); do
  answer=$(on_hub "$search")
  [[ $answer == *"$token"* ]] && break
  sleep 2
done
[[ $answer == *"$token"* ]] || fail "the line did not reach Elasticsearch within a minute: $answer"
[[ $answer != *canary-of-the-lab* ]] || fail "a secret reached Elasticsearch"
echo "line found, without its secret"
on_hub "docker stop $app-elasticsearch" >/dev/null
on_hub "systemd-cat --identifier=lab-efk echo ${token}late; sleep 60; docker start $app-elasticsearch" >/dev/null
for _ in $(seq 60); do
  answer=$(on_hub "${search//$token/${token}late}")
  [[ $answer == *"${token}late"* ]] && break
  sleep 3
done
[[ $answer == *"${token}late"* ]] || fail "a line that was written while Elasticsearch was away did not arrive"
echo "an outage was caught up"
on_hub "curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1:5601/_kibana/api/status" | grep -qE '200|401' || fail "Kibana does not answer"
on_hub "ss -Hltn" | grep -E '(0\.0\.0\.0|\*|\[::\]):(9200|5601|24224|24231)\b' && fail "something of it listens to everybody"
on_hub "docker stats --no-stream --format '{{ '{{' }}.Name{{ '}}' }} {{ '{{' }}.MemUsage{{ '}}' }}' $app-elasticsearch $app-kibana $app-fluentd" | tail -n 3
rm -f /tmp/efk.$$
echo ok
