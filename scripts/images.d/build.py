"""What scripts/images runs, as root and in a mount namespace of its own: layers from Debian's packages, images from them.

A layer is the upper folder of an overlay in which packages were installed or a script has run. Packages are chosen and
fetched by this machine's apt, for the root folder below; no image has apt in it.
"""

import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from oci import NAME, Layout
from registry import Registry

FILES = Path(__file__).parent / "files"
# Neither manuals nor translations, and no just-in-time compiler for PostgreSQL: it works without, and that is 130 MB.
LEFT_OUT = [
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*",
    "/usr/lib/*/libLLVM*", "/usr/lib/postgresql/*/lib/llvmjit*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
]
DPKG = ["--force-unsafe-io", "--force-confold", *(f"--path-exclude={path}" for path in LEFT_OUT)]
# What differs from build to build and that no image needs: caches, logs, earlier versions; and ssl-cert's key, since a
# key that all containers have is none.
REMOVED = [
    "var/log/**/*.log", "var/log/*tmp", "var/cache/apt/*", "var/cache/ldconfig/*", "var/cache/debconf/*-old",
    "var/lib/apt/lists/*", "var/lib/dpkg/*-old", "var/lib/dpkg/lock*", "etc/*-", "etc/machine-id", "etc/hostname",
    "etc/resolv.conf", "etc/ssl/private/*.key", "etc/ssl/certs/ssl-cert-snakeoil.pem",
]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WITHOUT_USRMERGE = "Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n"
SECOND = 1_000_000_000


class Packages:
    """A layer with packages and what they need of others."""

    def __init__(self, *names):
        self.names = names

    def __str__(self):
        return f"apt-get install {' '.join(self.names)}"

    def put(self, build, root):
        files = build.fetch(root, self.names, root.with_name("packages"))
        if not files:
            sys.exit(f"{self}: all of it is there already")
        # First all of them, in any order; the second knows which one needs which.
        run("dpkg", f"--root={root}", *DPKG, "--force-depends", "--unpack", *files)
        run("dpkg", f"--root={root}", *DPKG, "--configure", "--pending")


class Files:
    """A layer with the files of a folder here, and with what a script does in the root folder."""

    def __init__(self, folder, script):
        self.folder = folder
        self.script = script

    def __str__(self):
        return f"COPY {self.folder} / && {self.script}"

    def put(self, build, root):
        if (FILES / self.folder).exists():
            shutil.copytree(FILES / self.folder, root, symlinks=True, dirs_exist_ok=True, copy_function=copy)
        run("chroot", root, "sh", "-euc", self.script)


def copy(source, target):
    """With the mode that git knows, whatever this checkout's umask was."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755 if os.access(source, os.X_OK) else 0o644)


# Image: layers over the base, and what a container of it runs.
LIBRARY = {
    "redis": (
        [
            Packages("redis-server"),
            Files("redis", "mkdir -p /data && chown redis:redis /data"),
        ],
        {
            "Entrypoint": ["entrypoint.sh"],
            "Cmd": ["redis-server"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
            "ExposedPorts": {"6379/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "redis-cli", "ping"], "Interval": 10 * SECOND, "Timeout": 3 * SECOND},
        },
    ),
    "postgres": (
        [
            Packages("postgresql"),
            Files(
                "postgres",
                "mkdir -p /docker-entrypoint-initdb.d /var/lib/postgresql/data /run/postgresql;"
                "ln -sfn /usr/lib/postgresql/*/bin /usr/lib/postgresql/bin;"
                "chown postgres:postgres /var/lib/postgresql/data /run/postgresql;"
                "sed -i \"s/^#listen_addresses.*/listen_addresses = '*'/\" /usr/share/postgresql/*/postgresql.conf.sample;"
                "chmod 1777 /var/lib/postgresql/data; chmod 3777 /run/postgresql",
            ),
        ],
        {
            "Entrypoint": ["entrypoint.sh"],
            "Cmd": ["postgres"],
            "Env": [f"PATH={PATH}:/usr/lib/postgresql/bin", "LANG=C.UTF-8", "PGDATA=/var/lib/postgresql/data"],
            "Volumes": {"/var/lib/postgresql/data": {}},
            "ExposedPorts": {"5432/tcp": {}},
            # Clients are sent away, what is open is rolled back: SIGTERM would wait for them.
            "StopSignal": "SIGINT",
        },
    ),
    "nginx": (
        [
            Packages("nginx-light"),
            # The logs are opened by path, as root: of the runtime this needs a /dev/stdout that can be opened so.
            Files(
                "nginx",
                "rm /etc/nginx/sites-enabled/default;"
                "ln -sf /dev/stdout /var/log/nginx/access.log; ln -sf /dev/stderr /var/log/nginx/error.log",
            ),
        ],
        {
            "Cmd": ["nginx", "-g", "daemon off;"],
            "ExposedPorts": {"80/tcp": {}},
            # Answers what has been asked, then ends.
            "StopSignal": "SIGQUIT",
        },
    ),
    "python": (
        [
            Packages("python3"),
            Packages("python3-psycopg2", "python3-redis"),
        ],
        {
            "Cmd": ["python3"],
            "Env": [f"PATH={PATH}", "PYTHONUNBUFFERED=1"],
        },
    ),
}
TOOLS = [
    Packages("python3"), Packages("perl"), Packages("git"), Packages("gcc", "libc6-dev"), Packages("postgresql"),
    Packages("redis-server"), Packages("nginx-light"), Packages("sqlite3"), Packages("rsync"),
]
BENCH = {
    "tools": (TOOLS, {"Cmd": ["bash"]}),
    # Shares all layers but its last two.
    "more-tools": ([*TOOLS, Packages("python3-psycopg2"), Packages("cmake")], {"Cmd": ["bash"]}),
}
SETS = {"library": LIBRARY, "bench": BENCH}


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


class Build:
    def __init__(self, work):
        self.work = work
        self.started = time.time()
        (work / "layers").mkdir(parents=True)
        self.layout = Layout(work / "layout")
        self.architecture = run("dpkg", "--print-architecture").strip()
        # Folders, and what they are once packed, by all that made them.
        self.folders = {}
        self.packed = {}
        self.pool = ThreadPoolExecutor(os.cpu_count())

    def fetch(self, root, names, folder):
        """Brings the packages that a root folder lacks for these."""
        (folder / "partial").mkdir(parents=True)
        run(
            "apt-get", "install", "--yes", "-qq", "--no-install-recommends", "--download-only",
            "-o", f"Dir::State::status={root}/var/lib/dpkg/status", "-o", f"Dir::Cache::archives={folder}",
            # apt's caches of what there is are written by one at a time, in memory.
            "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", *names,
        )
        return sorted(folder.glob("*.deb"))

    def base(self):
        """The lowest layer: what Debian calls essential, and what packages make users with."""
        folder = self.work / "layers/base"
        suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
        options = ["--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT)]
        # What is essential wants usrmerge or usr-is-merged; the first, which apt would take, brings all of Perl.
        options += [
            "--mode=root", "--variant=essential", "--include=adduser", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            f"--setup-hook=mkdir -p $1/etc/apt/preferences.d; printf '{WITHOUT_USRMERGE}' >$1/etc/apt/preferences.d/usrmerge",
            "--customize-hook=rm $1/etc/apt/preferences.d/usrmerge",
        ]
        run("mmdebstrap", "--quiet", *options, suite, folder)
        # Servers are not started while they are installed: invoke-rc.d does nothing without this program.
        (folder / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (folder / "usr/sbin/policy-rc.d").chmod(0o755)
        # For dates in files: passwords have one (login.defs(5)).
        self.epoch = int(max(time for time in times(folder) if time < self.started))
        os.environ["SOURCE_DATE_EPOCH"] = str(self.epoch)
        self.keep(("base",), folder)

    def busybox(self):
        """A root folder with busybox under all its names."""
        folder = self.work / "layers/busybox"
        for name in ["bin", "etc", "root", "tmp", "dev", "proc", "sys"]:
            (folder / name).mkdir(parents=True)
        (folder / "tmp").chmod(0o1777)
        program = shutil.which("busybox")
        shutil.copy(program, folder / "bin/busybox")
        for applet in run(program, "--list").split():
            if applet != "busybox":
                (folder / "bin" / applet).symlink_to("busybox")
        (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        (folder / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        self.keep(("busybox",), folder)

    def keep(self, key, folder):
        """Has a layer packed while others are made."""
        for pattern in REMOVED:
            for path in folder.glob(pattern):
                # A log that leads elsewhere is meant so.
                if not path.is_symlink():
                    remove(path)
        self.folders[key] = folder
        self.packed[key] = self.pool.submit(self.layout.layer, folder, self.epoch, self.started)

    def stack(self, layers):
        """Makes the layers that are not there yet, each on those before it."""
        key = ("base",)
        for layer in layers:
            below, key = key, (*key, str(layer))
            if key not in self.folders:
                self.put(layer, key, [self.folders[below[: n + 1]] for n in range(len(below))])
        return key

    def put(self, layer, key, below):
        folder = Path(tempfile.mkdtemp(prefix="", dir=self.work / "layers"))
        upper, work, root = (folder / name for name in ("upper", "work", "root"))
        for part in (upper, work, root):
            part.mkdir()
        lower = ":".join(map(str, reversed(below)))
        options = f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off,index=off"
        run("mount", "-t", "overlay", "overlay", "-o", options, root)
        run("mount", "-t", "proc", "proc", root / "proc")
        layer.put(self, root)
        run("umount", root / "proc", root)
        self.keep(key, upper)

    def image(self, name, key, settings):
        layers = [(self.packed[key[: n + 1]].result(), key[n]) for n in range(len(key))]
        settings = {"Env": [f"PATH={PATH}"], "Labels": {"org.opencontainers.image.title": name}, **settings}
        created = datetime.datetime.fromtimestamp(self.epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.layout.image(name, layers, settings, created, self.architecture)


def times(folder):
    """When the files of a folder were last changed."""
    for path, _, files in os.walk(folder):
        yield from (os.lstat(os.path.join(path, name)).st_mtime for name in files)


def main(name, folder, made):
    folder = Path(folder)
    work = folder.with_name(f"{folder.name}.new")
    if work.exists():
        shutil.rmtree(work)
    os.environ.update(DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    build = Build(work)
    run("apt-get", "update", "-qq")
    build.base()
    if name == "library":
        build.busybox()
    images = SETS[name]
    with ThreadPoolExecutor(os.cpu_count() if name == "library" else 1) as pool:
        keys = list(pool.map(build.stack, [layers for layers, _ in images.values()]))
    for (image, (_, settings)), key in zip(images.items(), keys):
        build.image(image, key, settings)
    if name == "library":
        build.image("busybox", ("busybox",), {"Cmd": ["sh"]})
    build.layout.close()
    registry = Registry(work / "registry")
    try:
        for image in build.layout.images:
            registry.push(work / "layout", image["annotations"][NAME])
    finally:
        registry.close()
    shutil.rmtree(work / "layers")
    (work / "made").write_text(made)
    if folder.exists():
        shutil.rmtree(folder)
    work.rename(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
