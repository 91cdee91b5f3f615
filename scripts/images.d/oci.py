"""Writes OCI's image layout: folders become layers, layers and a configuration become an image."""

import gzip
import hashlib
import json
import os
import stat
import sys
import tarfile
import tempfile
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
# Under which a layout names its images (image-spec, annotations.md).
NAME = "org.opencontainers.image.ref.name"


class Layout:
    """A layout that is being written."""

    def __init__(self, folder):
        self.blobs = folder / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.folder = folder
        self.images = []

    def blob(self, data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(self, value, media_type):
        return self.blob(json.dumps(value, separators=(",", ":"), sort_keys=True).encode(), media_type)

    def layer(self, folder, epoch, started):
        """The descriptor and the diff id of a layer with what is in a folder: the upper one of an overlay."""
        with tempfile.NamedTemporaryFile(dir=self.blobs, delete=False) as file:
            packed = Hashed(file)
            # No name and no time in its header: the same files are the same bytes.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=packed, mtime=0) as stream:
                plain = Hashed(stream)
                with tarfile.open(mode="w|", fileobj=plain, format=tarfile.PAX_FORMAT, bufsize=1 << 20) as archive:
                    pack(archive, folder, epoch, started)
        os.chmod(file.name, 0o644)
        os.rename(file.name, self.blobs / packed.hash.hexdigest())
        descriptor = {"mediaType": LAYER, "digest": f"sha256:{packed.hash.hexdigest()}", "size": packed.size}
        return descriptor, f"sha256:{plain.hash.hexdigest()}"

    def image(self, name, layers, run, created, architecture):
        """An image: its layers from the lowest, each as `layer` gave it and with what made it."""
        config = {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [diff_id for (_, diff_id), _ in layers]},
            "history": [{"created": created, "created_by": made_by} for _, made_by in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(config, CONFIG),
            "layers": [descriptor for (descriptor, _), _ in layers],
        }
        descriptor = self.document(manifest, MANIFEST)
        self.images.append({**descriptor, "annotations": {NAME: name}})

    def close(self):
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.images}
        (self.folder / "index.json").write_text(json.dumps(index, indent=2))


class Hashed:
    """A stream that knows what has been written to it."""

    def __init__(self, stream):
        self.stream = stream
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.stream.write(data)

    def flush(self):
        self.stream.flush()


def pack(archive, folder, epoch, started):
    """Everything in a folder, in the order of names. What the build has touched is as old as the epoch."""
    # The runtime puts something else there.
    outside = {str(folder / name) for name in ("dev", "proc", "sys", "tmp")}
    for path, folders, files in os.walk(folder):
        folders.sort()
        if path in outside:
            folders.clear()
            continue
        for name in sorted(folders + files):
            full = Path(path, name)
            inside = str(full.relative_to(folder))
            seen = full.lstat()
            # What an overlay has removed (overlayfs.rst, whiteouts) a layer says by a name (image-spec, layer.md).
            if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:
                archive.addfile(tarfile.TarInfo(str(Path(inside).with_name(f".wh.{name}"))))
                continue
            info = archive.gettarinfo(full, inside)
            if info is None:
                sys.exit(f"{full}: neither file, folder, link nor device")
            info.uname = info.gname = ""
            info.mtime = epoch if seen.st_mtime >= started else int(seen.st_mtime)
            attributes = os.listxattr(full, follow_symlinks=False)
            if "security.capability" in attributes:
                sys.exit(f"{full}: capabilities of a file are not written to layers here")
            if info.isreg():
                with open(full, "rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
            if "trusted.overlay.opaque" in attributes:
                archive.addfile(tarfile.TarInfo(f"{inside}/.wh..wh..opq"))
