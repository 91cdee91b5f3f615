"""Debian's docker-registry on loopback, over a folder."""

import os
import subprocess
import sys
import threading

CONFIG = """
version: 0.1
log: {{ level: info, accesslog: {{ disabled: true }} }}
storage: {{ filesystem: {{ rootdirectory: '{storage}' }} }}
http: {{ addr: '{address}' }}
"""


class Registry:
    """A registry that runs, at any free port."""

    def __init__(self, storage):
        self.process = subprocess.Popen(
            ["docker-registry", "serve", "/dev/stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            # Else it looks for a collector of traces.
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
        )
        self.process.stdin.write(CONFIG.format(storage=storage, address="127.0.0.1:0"))
        self.process.stdin.close()
        for line in self.process.stderr:
            if "listening on " in line:
                self.address = line.split("listening on ")[1].split('"')[0].split(",")[0].strip()
                break
        else:
            sys.exit("docker-registry has ended at once")
        # It blocks when nobody reads what it says.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def push(self, layout, name):
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
             f"oci:{layout}:{name}", f"docker://{self.address}/{name}:latest"],
            check=True,
        )

    def close(self):
        self.process.terminate()
        self.process.wait()


if __name__ == "__main__":
    # Serves a folder at an address, until it is interrupted.
    storage, address = sys.argv[1:]
    reader, writer = os.pipe()
    os.write(writer, CONFIG.format(storage=storage, address=address).encode())
    os.close(writer)
    os.dup2(reader, 0)
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    os.execvp("docker-registry", ["docker-registry", "serve", "/dev/stdin"])
