"""What scripts/bench runs, as root: measures, and prints medians and ratios."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "images.d"))
from registry import Registry

IMAGE = "peer/busybox"  # made by the peers' script from the same busybox
FLOOR_ROOT = Path("/tmp/bbimg")  # compiled into the floor
FLOOR_STATE = Path("/tmp/floor")


def busybox_root(folder):
    """A root folder with busybox under all its names."""
    for name in ["bin", "tmp", "etc", "proc", "sys", "dev", "root"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox")
    shutil.copy(busybox, folder / "bin/busybox")
    for applet in subprocess.check_output([busybox, "--list"], text=True).split():
        if applet != "busybox" and not (folder / "bin" / applet).exists():
            (folder / "bin" / applet).symlink_to("busybox")


class Peer:
    """A composer: ours or Docker's."""

    def __init__(self, name, command):
        self.name = name
        self.command = command

    def __call__(self, folder, *args, check=True):
        """Runs it in a folder: milliseconds, and what it printed."""
        environment = {**os.environ, "COMPOSE_PROGRESS": "plain"}
        begin = time.monotonic()
        done = subprocess.run([*self.command, *args], cwd=folder, env=environment, capture_output=True, text=True)
        passed = (time.monotonic() - begin) * 1000
        if check and done.returncode != 0:
            sys.exit(f"{self.name} {' '.join(args)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return passed, done.stdout


class Bench:
    def __init__(self, options):
        self.options = options
        self.work = Path(tempfile.mkdtemp(prefix="compose-bench-"))
        self.images = []
        self.root = self.work / "busybox"
        busybox_root(self.root)
        self.ours = Peer("compose", [options.compose])
        self.docker = None if options.no_docker else self.find_docker()
        self.floor = self.find_floor()

    def find_docker(self):
        script = Path(options.peers) / "docker"
        if not script.exists() or subprocess.run([script, "up"], capture_output=True).returncode != 0:
            print("Docker Compose is not here: measured without it", file=sys.stderr)
            return None
        return Peer("docker compose", [script, "compose"])

    def find_floor(self):
        source = Path(self.options.peers) / "floor.c"
        if not source.exists() or not shutil.which("cc") or not Path("/sys/fs/cgroup/memory").exists():
            print("the kernel floor is not here (it needs cgroup v1): measured without it", file=sys.stderr)
            return None
        program = self.work / "floor"
        subprocess.run(["cc", "-O2", "-w", "-o", program, source], check=True)
        busybox_root(FLOOR_ROOT)
        FLOOR_STATE.mkdir(exist_ok=True)
        return program

    def project(self, name, text):
        folder = self.work / name
        folder.mkdir()
        (folder / "compose.yaml").write_text(text.replace("@root@", f"x-rootfs: {self.root}, image: {IMAGE}"))
        return folder

    def services(self, count):
        line = "  s{}: {{ @root@, command: sleep 1000, mem_limit: 64m, cpus: 0.5 }}\n"
        lines = "".join(line.format(number) for number in range(count))
        return self.project(f"bench{count}", "services:\n" + lines)

    def peers(self):
        return [peer for peer in (self.ours, self.docker) if peer]

    def close(self):
        self.remove_images()
        shutil.rmtree(self.work)

    # --- measurements ---------------------------------------------------------------------------------------

    def up(self):
        for count in (1, 10, 50, 200):
            folder = self.services(count)
            times = {}
            note = lambda what, value: times.setdefault(what, []).append(value)
            for round in range(self.options.rounds):
                if self.floor:
                    said = subprocess.check_output([self.floor, str(count)], text=True)
                    up, down = re.search(r"up ([\d.]+) ms.* down ([\d.]+) ms", said).groups()
                    note("floor up", float(up))
                    note("floor down", float(down))
                for peer in self.peers():
                    if peer is self.docker and count == 200 and round > 0:
                        continue
                    note(f"{peer.name} up", peer(folder, "up", "-d")[0])
                    # A stack lives longer than its start: ours takes a second to see that a program is deaf.
                    time.sleep(1.5)
                    # Docker waits ten seconds for `sleep` otherwise, which says nothing of its speed.
                    note(f"{peer.name} down", peer(folder, "down", "-t", "0")[0])
            for verb in ("up", "down"):
                self.row(f"{verb} of {count}", times, verb)

    def chains(self):
        once = "  s{}: {{ @root@, command: 'true'{} }}\n"
        after = ", depends_on: {{ s{}: {{ condition: {} }} }}"
        link = lambda number, condition: after.format(number - 1, condition) if number else ""
        text = "".join(once.format(n, link(n, "service_completed_successfully")) for n in range(4))
        self.chain("one-shot chain of 4", "oneshots", text, [])
        healthy = "  s{}: {{ @root@, command: sleep 1000, healthcheck: {{ test: [CMD, 'true'], interval: 1s }}{} }}\n"
        text = "".join(healthy.format(n, link(n, "service_healthy")) for n in range(4))
        self.chain("health chain of 4", "healthy", text, ["--wait"])

    def chain(self, title, name, text, flags):
        folder = self.project(name, "services:\n" + text)
        times = {}
        for _ in range(self.options.rounds):
            for peer in self.peers():
                times.setdefault(f"{peer.name} up", []).append(peer(folder, "up", "-d", *flags)[0])
                peer(folder, "down", "-t", "0")
        self.row(title, times, "up")

    def commands(self):
        folder = self.services(5)
        for peer in self.peers():
            peer(folder, "up", "-d")
        for title, args in {
            "exec true": ["exec", "-T", "s0", "true"],
            "ps": ["ps"],
            "config": ["config", "-q"],
        }.items():
            times = {}
            for _ in range(self.options.rounds * 2):
                for peer in self.peers():
                    times.setdefault(f"{peer.name} run", []).append(peer(folder, *args)[0])
            self.row(title, times, "run")
        for peer in self.peers():
            peer(folder, "down", "-t", "0")
        self.configs()

    def configs(self):
        """A file as people write them, and how the time grows with it: Docker reads the longest one once."""
        for count, most in {50: None, 500: 1, 2000: 1, 4000: 0}.items():
            folder = self.work / f"config{count}"
            folder.mkdir()
            (folder / "compose.yaml").write_text(realistic(count))
            times = {}
            for round in range(self.options.rounds * 2):
                for peer in self.peers():
                    if peer is self.ours or most is None or round < most:
                        times.setdefault(f"{peer.name} run", []).append(peer(folder, "config", "-q")[0])
            self.row(f"config of {count}", times, "run")

    def changes(self):
        """A stack of 50 that runs: what it takes to change a little of it."""
        folder = self.services(50) if not (self.work / "bench50").exists() else self.work / "bench50"
        file = folder / "compose.yaml"
        text = file.read_text()
        changed = text.replace("s7: { ", "s7: { environment: { CHANGED: '1' }, ")
        times = {}
        note = lambda what, value: times.setdefault(what, []).append(value)
        for peer in self.peers():
            peer(folder, "up", "-d")
        for _ in range(self.options.rounds):
            for peer in self.peers():
                note(f"{peer.name} again", peer(folder, "up", "-d")[0])
                # Docker would wait ten seconds for `sleep`, which says nothing of its speed.
                note(f"{peer.name} restart", peer(folder, "restart", "-t", "0", "s3")[0])
                file.write_text(changed)
                note(f"{peer.name} changed", peer(folder, "up", "-d", "-t", "0")[0])
                file.write_text(text)
                peer(folder, "up", "-d", "-t", "0")
        for peer in self.peers():
            peer(folder, "down", "-t", "0")
        self.row("up of 50, none changed", times, "again")
        self.row("up of 50, one changed", times, "changed")
        self.row("restart of one", times, "restart")

    def memory(self):
        sizes = {}
        for count in (50, 200):
            folder = self.services(count) if not (self.work / f"bench{count}").exists() else self.work / f"bench{count}"
            self.ours(folder, "up", "-d")
            self.ours(folder, "ps")
            sizes[count] = our_memory(folder.name)
            self.ours(folder, "down", "-t", "0")
        further = (sizes[200] - sizes[50]) / 150
        print(f"{'memory, 50 services':24} {sizes[50] / 1024:8.1f} MiB PSS, keeper and supervisor")
        print(f"{'memory, one more':24} {further:8.1f} KiB PSS")

    def logs(self):
        size = 512 << 20
        line = b"x" * 99 + b"\n"
        text = self.work / "text"
        text.write_bytes(line * (size // len(line) // 4))
        size = text.stat().st_size * 4
        file = f"""
services:
  writer: {{ @root@, command: [cat, /text, /text, /text, /text], volumes: ['{text}:/text:ro'] }}
  after: {{ @root@, command: 'true', depends_on: {{ writer: {{ condition: service_completed_successfully }} }} }}
"""
        folder = self.project("logs", file)
        times = {}
        for _ in range(max(1, self.options.rounds // 2)):
            for peer in self.peers():
                times.setdefault(f"{peer.name} run", []).append(peer(folder, "up", "-d")[0])
                peer(folder, "down", "-t", "0")
        for what, values in times.items():
            print(f"{'log throughput':24} {size / 1e3 / statistics.median(values):8.0f} MB/s  {what.removesuffix(' run')}")
        self.row("logging 512 MiB", times, "run")

    def dns(self):
        """What a container's resolver answers to a client in it that has 64 questions open at any time."""
        folder = self.project("dns", "services:\n" + "".join(f"  {name}: {{ @root@, command: sleep 1000 }}\n" for name in ("api", "ask")))
        rates, latencies, lost = {}, {}, {}
        load = Path(self.options.compose).parent / "examples/dns_load"
        for peer in self.peers():
            peer(folder, "up", "-d")
        for _ in range(self.options.rounds):
            for peer in [*self.peers(), None]:
                # The least work: a server in the same place that only sends back.
                to = "127.0.0.11:53" if peer else "floor"
                inside = str(self.pid(peer or self.ours, folder, "ask"))
                command = ["nsenter", "-n", "-t", inside, load, to, "200000", "64", "api", "dns-api-1", "api.dns_default"]
                said = subprocess.check_output(command, text=True)
                figure = lambda what: float(re.search(what + r":?\s+([\d.]+)", said).group(1))
                name = peer.name if peer else "floor"
                rates.setdefault(name, []).append(figure("Queries per second"))
                latencies.setdefault(name, []).append(figure(r"Average Latency \(s\)") * 1e6)
                lost[name] = lost.get(name, 0) + int(figure("Queries lost"))
        for peer in self.peers():
            peer(folder, "down", "-t", "0")
        for title, values, unit, better in (
            ("DNS", rates, "queries/s", lambda ours, docker: ours / docker),
            ("DNS, one answer", latencies, "µs", lambda ours, docker: docker / ours),
        ):
            mine = statistics.median(values[self.ours.name])
            text = f"{title:24} {mine:8.0f} {unit}"
            if self.docker:
                docker = statistics.median(values[self.docker.name])
                text += f"   docker {docker:8.0f} {unit}, {better(mine, docker):6.1f} x faster"
            text += f"   floor {statistics.median(values['floor']):8.0f} {unit}"
            print(text, flush=True)
        for name, count in lost.items():
            print(f"{'DNS, no answer':24} {count:8} of {200_000 * self.options.rounds}  {name}")

    def network(self):
        """What iperf3 gets through in two seconds: between services, and to a published port from outside and from here, and back.

        By the kernel's own congestion control: BBR, which a host may have, paces each connection by its timers, and where
        nothing else slows it down that is what is measured, a third of what the links take.
        """
        lines = "".join(f"  {name}: {{ @root@, command: sleep 1000{more} }}\n" for name, more in (("ask", ""), ("server", ", ports: ['5201']")))
        folder = self.project("network", "services:\n" + lines)
        outside = Outside()
        rates = {}
        control = Path("/proc/sys/net/ipv4/tcp_congestion_control")
        before = control.read_text()
        try:
            control.write_text("cubic")
            for _ in range(self.options.rounds):
                for peer in self.peers():
                    # Alone: how large the loopback's packets are, which ours raises, counts for both.
                    peer(folder, "up", "-d")
                    ask, server, address, port = self.place(peer, folder)
                    inside = lambda pid: ["nsenter", "-n", "-t", str(pid)]
                    for title, client, to in (
                        ("service to service", inside(ask), (address, "5201")),
                        ("port, from outside", outside.inside, (outside.host, port)),
                        ("port, to outside", outside.inside, (outside.host, port, "--reverse")),
                        ("port, by loopback", [], ("127.0.0.1", port)),
                        ("port, back by loopback", [], ("127.0.0.1", port, "--reverse")),
                    ):
                        rates.setdefault(title, {}).setdefault(peer.name, []).append(throughput(inside(server), client, *to))
                    peer(folder, "down", "-t", "0")
        finally:
            for peer in self.peers():
                peer(folder, "down", "-t", "0")
            control.write_text(before)
            outside.close()
        for title, values in rates.items():
            mine = statistics.median(values[self.ours.name])
            text = f"{title:24} {mine:8.1f} Gbit/s"
            if self.docker:
                docker = statistics.median(values[self.docker.name])
                text += f"   docker {docker:8.1f} Gbit/s, {mine / docker:6.2f} x Docker's"
            print(text, flush=True)

    def pull(self):
        """A large image of a registry on loopback, another one that shares most layers, and `up` with all there."""
        storage = Path(self.options.images) / "registry"
        folder = self.work / "pull"
        folder.mkdir()
        times, moved = {}, {}
        for _ in range(self.options.rounds):
            for peer in self.peers():
                for title in ("tools", "more-tools"):
                    registry = Registry(storage)
                    image = f"{registry.address}/{title}"
                    (folder / "compose.yaml").write_text(f"services:\n  a: {{ image: {image}, command: sleep 1000 }}\n")
                    times.setdefault((peer.name, title), []).append(peer(folder, "pull", "-q")[0])
                    moved.setdefault((peer.name, title), []).append(registry.close())
                    # There is no registry now.
                    times.setdefault((peer.name, f"up {title}"), []).append(peer(folder, "up", "-d")[0])
                    peer(folder, "down", "-t", "0")
                    self.images.append((peer, image))
            self.remove_images()
        for title, what in (
            ("pull of 10 layers", "tools"),
            ("pull, 2 layers new", "more-tools"),
            ("up, no registry", "up more-tools"),
        ):
            self.row(title, {f"{peer.name} run": times[peer.name, what] for peer in self.peers()}, "run")
            for peer in self.peers() if what in ("tools", "more-tools") else []:
                print(f"{title + ', moved':24} {statistics.median(moved[peer.name, what]) / 1e6:8.1f} MB   {peer.name}")

    def remove_images(self):
        for peer, image in self.images:
            command = ["docker", "image", "rm", "-f"] if peer is self.docker else [*peer.command, "image", "rm"]
            subprocess.run([*command, image], check=True, capture_output=True)
        self.images = []

    def place(self, peer, folder):
        """The programs of both services, the server's address and its port of the host."""
        ask, server = (self.pid(peer, folder, service) for service in ("ask", "server"))
        said = subprocess.check_output(["nsenter", "-n", "-t", str(server), "ip", "-4", "-o", "address", "show", "scope", "global"], text=True)
        port = peer(folder, "port", "server", "5201")[1].strip().rpartition(":")[2]
        return ask, server, re.search(r"inet ([\d.]+)", said).group(1), port

    def pid(self, peer, folder, service):
        """The program of a service's only container."""
        if peer is self.docker:
            name = f"{folder.name}-{service}-1"
            return int(subprocess.check_output(["docker", "inspect", "-f", "{{.State.Pid}}", name], text=True))
        return json.loads(peer(folder, "ps", "--format", "json", service)[1])["Pid"]

    def row(self, title, times, verb):
        mine = statistics.median(times[f"compose {verb}"])
        text = f"{title:24} {mine:8.1f} ms"
        if f"floor {verb}" in times:
            floor = statistics.median(times[f"floor {verb}"])
            text += f"   floor {floor:8.1f} ms, {mine / floor:5.2f} x the floor"
        if f"docker compose {verb}" in times:
            docker = statistics.median(times[f"docker compose {verb}"])
            text += f"   docker {docker:9.1f} ms, {docker / mine:6.1f} x faster"
        print(text, flush=True)


class Outside:
    """A machine of its own beside this one: a namespace at the other end of a link."""

    def __init__(self):
        self.name = f"compose-bench-{os.getpid()}"
        self.host, there = "198.51.100.1", "198.51.100.2"
        self.inside = ["ip", "netns", "exec", self.name]
        link = f"bench{os.getpid()}"[:15]
        ip("netns", "add", self.name)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("address", "add", f"{self.host}/24", "dev", link)
        ip("link", "set", link, "up")
        ip("-n", self.name, "address", "add", f"{there}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")

    def close(self):
        ip("netns", "delete", self.name)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def throughput(server, client, address, port, *more):
    """Gbit/s of one TCP connection to an iperf3 that serves it alone, from the second that the connection is fast in."""
    serving = subprocess.Popen([*server, "iperf3", "-s", "-1", "--forceflush"], stdout=subprocess.PIPE, text=True)
    next(line for line in serving.stdout if "listening" in line)
    command = [*client, "iperf3", "-c", address, "-p", str(port), "-t", "2", "-O", "1", "-J", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    serving.communicate()
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def realistic(count):
    """Services with what services have: anchors, variables, ports, volumes, networks, health, limits, labels."""
    service = """  s{0}:
    <<: *common
    image: "registry.example.com/team/service-{0}:${{TAG:-1.4.2}}"
    command: ["serve", "--port", "8080", "--name", "service {0}"]
    environment:
      DATABASE_URL: postgres://user:${{PASSWORD:-secret}}@db:5432/app{0}
      LOG_LEVEL: ${{LOG_LEVEL:-info}}
      FEATURES: "a,b,c"
      WORKERS: 4
      REGION: eu-central-1
    ports: ["127.0.0.1:{1}:80/tcp"]
    volumes:
      - data-{2}:/var/lib/service
      - ./config/{0}.yaml:/etc/service/config.yaml:ro
    networks: [front, back]
    healthcheck: {{ test: [CMD, curl, -f, "http://localhost/health"], interval: 10s, timeout: 2s, retries: 5 }}
    deploy: {{ resources: {{ limits: {{ cpus: "0.50", memory: 256M }}, reservations: {{ memory: 64M }} }} }}
    labels:
      com.example.team: platform
      com.example.index: "{0}"
"""
    after = "    depends_on: {{ s{0}: {{ condition: service_healthy }} }}\n"
    text = "x-common: &common\n  restart: unless-stopped\n  logging: { driver: json-file, options: { max-size: 10m } }\n"
    text += "services:\n"
    for number in range(count):
        text += service.format(number, 10000 + number, number % 10)
        text += after.format(number - 1) if number else ""
    volumes = "".join(f"  data-{number}: {{}}\n" for number in range(10))
    return text + "networks: { front: {}, back: { internal: true } }\nvolumes:\n" + volumes


def our_memory(stack):
    """KiB of proportional set size of the processes behind a stack."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            if command[0] in (b"compose-keeper", b"compose-supervisor") and command[1] == stack.encode():
                rollup = (process / "smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
        except (FileNotFoundError, ProcessLookupError, IndexError):
            pass
    return total


MEASUREMENTS = ["up", "chains", "commands", "changes", "memory", "logs", "dns", "network", "pull"]
parser = argparse.ArgumentParser()
parser.add_argument("--compose", required=True)
parser.add_argument("--peers", required=True)
parser.add_argument("--images", required=True)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--only", action="append", choices=MEASUREMENTS)
parser.add_argument("--no-docker", action="store_true")
options = parser.parse_args()
bench = Bench(options)
try:
    for measurement in options.only or MEASUREMENTS:
        getattr(bench, measurement)()
finally:
    bench.close()
