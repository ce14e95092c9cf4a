#!/usr/bin/env bash
# ray 2.60.0: with its reports switched off (RAY_USAGE_STATS_ENABLED=0) and without its dashboard, every start of Ray
# still speaks to the network: ray.init() asks the address at which clouds answer their machines for what it runs on
# (169.254.169.254, metadata.google.internal), and a cluster made by `ray start` also sends one report: that none are
# wanted. The setting stops the reports with content only; a file ~/ray_bootstrap_config.yaml stops the questions.
# Seen through a proxy on this machine, so that nothing leaves it.
#
#   bash findings/ray_usage_off_still_asks.sh
#
# Installs pinned packages into a temporary folder. Exit code 1 where the behaviour has changed.
set -euo pipefail

work=$(mktemp -d /tmp/ray.XXXX) # short: Ray's sockets are below it
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[data]==2.60.0"

cat >"$work/look.py" <<'END'
import http.server, os, pathlib, subprocess, sys, threading, time

work, seen = pathlib.Path(sys.argv[1]), []


class Proxy(http.server.BaseHTTPRequestHandler):
    def refuse(self):
        seen.append(f"{self.command} {self.path}")
        self.send_error(502)

    do_GET = do_PUT = do_POST = do_CONNECT = refuse

    def log_message(self, *_):
        pass


proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{proxy.server_port}"
INIT = "import ray, sys, time; ray.init(include_dashboard=False, num_cpus=1, object_store_memory=80 << 20, _temp_dir=sys.argv[1], log_to_driver=False); time.sleep(15); ray.shutdown()"
START = "import subprocess, sys; subprocess.run([sys.argv[2], '-m', 'ray.scripts.scripts', 'start', '--head', '--num-cpus=1', '--port=0', '--include-dashboard=false', '--disable-usage-stats', '--temp-dir=' + sys.argv[1], '--block'], timeout=25)"


def look(name, code, has_file=False):
    home = work / name
    home.mkdir()
    if has_file:
        (home / "ray_bootstrap_config.yaml").write_text("{}\n")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "http_proxy": address, "https_proxy": address,
        "no_proxy": "127.0.0.1,localhost", "RAY_AUTH_MODE": "disabled",
    }  # fmt: skip
    seen.clear()
    command = [sys.executable, "-W", "ignore", "-c", code, str(home / "r"), sys.executable]
    child = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    child.wait()
    time.sleep(1)
    hosts = sorted({line.split()[1].removeprefix("http://").split("/")[0] for line in seen})
    print(f"{name + ':':22}{', '.join(hosts) or 'nothing'}", flush=True)
    return hosts


import ray

print("ray", ray.__version__)
init = look("ray.init", INIT)
start = look("ray start", START)
quiet = look("ray.init, with a file", INIT, has_file=True)
if "169.254.169.254" not in init:
    sys.exit("changed: ray.init asks no cloud any more")
if not any(host.startswith("usage-stats.ray.io") for host in start):
    sys.exit("changed: ray start sends no report any more that reports are off")
if quiet:
    sys.exit("changed: the file in the home folder no longer stops the questions")
END
"$work/venv/bin/python" "$work/look.py" "$work"
