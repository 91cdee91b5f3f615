//! What is mounted into a container, as the sandbox makes it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use composer_sandbox as sandbox;
use composer_stack::{FileMount, ImageUse, Mount, MountKind, Propagation, Recursion, Service};

use super::container::Container;
use super::start::{Result, StartError};
use super::volumes::Mounter;
use super::{Engine, spec};
use crate::host::{devices, volumes};
use crate::paths::{ContainerPaths, StackPaths};

impl Engine {
    /// What a container's service mounts, what it takes over from other containers, and the files of its secrets and
    /// configs.
    pub(super) fn mounts(&self, container: &Container, service: &Service) -> Result<Vec<sandbox::MountSpec>> {
        let mut mounts = self.volume_mounts(container, service)?;
        for (key, file) in files(service) {
            mounts.push(self.file(service, key, file)?);
        }
        Ok(mounts)
    }

    /// The same without the files.
    pub(super) fn volume_mounts(
        &self,
        container: &Container,
        service: &Service,
    ) -> Result<Vec<sandbox::MountSpec>> {
        // As in Docker, an empty volume is filled for a container that has never run.
        let is_new = matches!(container.record.borrow().phase, crate::records::Phase::Created { .. });
        let own = self.mounter(container);
        let mut mounts = Vec::new();
        for (place, mount) in service.mounts.iter().enumerate() {
            let maker = Maker { owner: &own, service, place: Some(place), fills: is_new };
            mounts.push(maker.made(mount)?);
        }
        for from in &service.volumes_from {
            let owner = self.mounter_of(&service.name, from)?;
            for mut mount in owner.service.mounts.clone() {
                let is_taken = mounts.iter().any(|known: &sandbox::MountSpec| known.target == mount.target);
                if is_taken || matches!(mount.kind, MountKind::Tmpfs { .. }) {
                    continue;
                }
                mount.read_only |= from.read_only;
                let maker = Maker { owner: &owner, service, place: None, fills: is_new };
                mounts.push(maker.made(&mount)?);
            }
        }
        Ok(mounts)
    }

    fn file(&self, service: &Service, key: &str, file: &FileMount) -> Result<sandbox::MountSpec> {
        let content = self.paths.contents().join(&file.digest);
        if !content.exists() {
            let (name, source) = (&service.name, &file.source);
            let lost = format!("service {name}: what `{source}` of `{key}` holds is not known any more");
            let help = Some("it is kept in memory: `compose up -d` reads it again".to_owned());
            return Err(StartError { help, ..StartError::new(lost) });
        }
        let FileMount { uid, gid, mode, .. } = *file;
        Ok(sandbox::MountSpec {
            target: file.target.clone(),
            read_only: true,
            kind: sandbox::MountKind::File(sandbox::FileSpec { content, uid, gid, mode }),
        })
    }

    /// Keeps what secrets and configs of a file hold for as long as the stack runs, whoever dies meanwhile; what no
    /// container has any more goes.
    pub(super) fn keep_contents(&self, stack: &composer_stack::Stack) -> io::Result<()> {
        let folder = self.paths.contents();
        let containers = self.containers.borrow();
        let is_wanted = |digest: &str| {
            let has_it = |service: &Service| files(service).any(|(_, file)| file.digest == digest);
            stack.contents.contains_key(digest)
                || containers.values().any(|container| has_it(&container.record.borrow().service))
        };
        for file in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !file.file_name().to_str().is_some_and(is_wanted) {
                fs::remove_file(file.path())?;
            }
        }
        for (digest, content) in &stack.contents {
            let path = folder.join(digest);
            if path.exists() {
                continue;
            }
            crate::paths::make(&folder)?;
            // Half of it counts as none.
            let aside = folder.join(format!("{digest}.new"));
            fs::write(&aside, content.bytes())?;
            fs::set_permissions(&aside, fs::Permissions::from_mode(0o600))?;
            fs::rename(&aside, &path)?;
        }
        Ok(())
    }
}

fn files(service: &Service) -> impl Iterator<Item = (&'static str, &FileMount)> {
    let secrets = service.secrets.iter().map(|file| ("secrets", file));
    secrets.chain(service.configs.iter().map(|file| ("configs", file)))
}

/// Makes the mounts of one container.
struct Maker<'a> {
    /// Whose mounts they are.
    owner: &'a Mounter,
    /// Whose container they are for.
    service: &'a Service,
    /// Where in the service's own list; `None` for what it takes over.
    place: Option<usize>,
    /// Whether volumes that are empty are filled.
    fills: bool,
}

impl Maker<'_> {
    fn made(&self, mount: &Mount) -> Result<sandbox::MountSpec> {
        let kind = match &mount.kind {
            MountKind::Bind { source, create_host_path } => self.bind(mount, source, *create_host_path)?,
            MountKind::Volume { source } => self.volume(mount, source)?,
            MountKind::Anonymous => {
                let folders = self.owner.stack.container(&self.owner.container);
                let folder = folders.anonymous(&mount.target);
                let former = self.place.map(|place| folders.numbered_anonymous(place));
                anonymous(&folder, former.as_deref())
                    .map_err(|error| StartError::doing(&format!("make {}", folder.display()), &error))?;
                self.filled(mount, folder, folders.record())
            }
            MountKind::Borrowed { service, target } => {
                let (folder, folders) = self.borrowed(service, target)?;
                self.filled(mount, folder, folders.record())
            }
            MountKind::Image(used) => self.image(mount, used)?,
            MountKind::Tmpfs { size, mode } => sandbox::MountKind::Tmpfs { size: *size, mode: *mode },
        };
        Ok(sandbox::MountSpec { target: mount.target.clone(), read_only: mount.read_only, kind })
    }

    /// An error with the place of the mount in the file.
    fn refused(&self, option: &[&str], why: String) -> StartError {
        let name = &self.service.name;
        let place = self.place.map(|place| place.to_string());
        let at =
            ["services", name, "volumes"].into_iter().chain(place.as_deref()).chain(option.iter().copied());
        let at = if place.is_some() { at.map(str::to_owned).collect() } else { Vec::new() };
        StartError { at, ..StartError::new(format!("service {name}: {why}")) }
    }

    fn bind(&self, mount: &Mount, source: &Path, create: bool) -> Result<sandbox::MountKind> {
        let shown = source.display();
        if !source.exists() {
            let missing = io::Error::from_raw_os_error(libc::ENOENT);
            let done = if create { create_like_parent(source) } else { Err(missing) };
            let what = if create { "make the folder" } else { "find" };
            done.map_err(|error| {
                self.refused(&["source"], format!("{what} {shown} to mount at {}: {error}", mount.target))
            })?;
        }
        let propagation = match mount.options.propagation {
            Propagation::Private => sandbox::Propagation::Private,
            Propagation::Slave => sandbox::Propagation::Slave,
            Propagation::Shared => sandbox::Propagation::Shared,
        };
        if propagation == sandbox::Propagation::Shared {
            let is_shared = sandbox::is_shared(source).map_err(|error| {
                self.refused(&["source"], format!("look at the mount of {shown}: {error}"))
            })?;
            if !is_shared {
                let why =
                    format!("{shown} lies on no shared mount, so nothing that is mounted there is passed on");
                let help = Some("`mount --make-rshared` of its mount, or `rslave`".to_owned());
                return Err(StartError { help, ..self.refused(&["bind", "propagation"], why) });
            }
        }
        let recursion = match mount.options.recursion {
            Recursion::Whole => sandbox::Recursion::Whole,
            Recursion::Alone => sandbox::Recursion::Alone,
            Recursion::Writable => sandbox::Recursion::Writable,
        };
        Ok(sandbox::MountKind::Bind { source: source.to_owned(), propagation, recursion })
    }

    fn volume(&self, mount: &Mount, key: &str) -> Result<sandbox::MountKind> {
        let volume = self.owner.volumes.get(key);
        let volume =
            volume.ok_or_else(|| self.refused(&[], format!("volume {key} is not known to the stack")))?;
        let name = &volume.name;
        let failed =
            |error: io::Error| StartError::doing(&format!("read the record of volume {name}"), &error);
        let Some(record) = volumes::recorded(name).map_err(failed)? else {
            let help = Some(format!("make it: `compose volume create {name}`"));
            return Err(StartError { help, ..self.refused(&[], format!("volume {name} does not exist")) });
        };
        let folder = match volumes::device(&record) {
            Some(_) => devices::place(name),
            None => crate::paths::volume(name),
        };
        if let Some(subpath) = &mount.options.subpath
            && !folder.join(subpath).exists()
        {
            let help = Some(
                "it has to be there before it is mounted: mount all of the volume to make it".to_owned(),
            );
            let why = format!("there is no {subpath} in volume {name}");
            return Err(StartError { help, ..self.refused(&["volume", "subpath"], why) });
        }
        Ok(self.filled(mount, folder, crate::paths::volume_record(name)))
    }

    fn image(&self, mount: &Mount, used: &ImageUse) -> Result<sandbox::MountKind> {
        let at: Vec<String> = match self.place {
            Some(place) => vec!["volumes".to_owned(), place.to_string(), "source".to_owned()],
            None => Vec::new(),
        };
        let layers = match used {
            ImageUse::Found(image) => spec::layers(self.service, image, &at)?,
            ImageUse::Source(image) => return Err(spec::not_here(self.service, &image.reference, &at)),
        };
        let subpath = mount.options.subpath.as_ref().map(PathBuf::from);
        Ok(sandbox::MountKind::Image { layers, subpath })
    }

    fn filled(&self, mount: &Mount, source: PathBuf, lock: PathBuf) -> sandbox::MountKind {
        let fill = (!mount.options.no_copy).then_some(sandbox::Fill { lock, empty: self.fills });
        let subpath = mount.options.subpath.as_ref().map(PathBuf::from);
        sandbox::MountKind::Volume { source, subpath, fill }
    }

    /// The volume without a name that the first container of another service has.
    fn borrowed(&self, service: &str, target: &str) -> Result<(PathBuf, ContainerPaths)> {
        let first = first_of(&self.owner.stack, service);
        let folders = first.map(|container| self.owner.stack.container(&container));
        let found = folders.map(|folders| (folders.anonymous(target), folders));
        found.filter(|(folder, _)| folder.is_dir()).ok_or_else(|| {
            let why =
                format!("service {service} has no container whose volume at {target} could be taken over");
            self.refused(&[], why)
        })
    }
}

/// The first container of a service, by its records.
fn first_of(stack: &StackPaths, service: &str) -> Option<String> {
    let own = crate::records::ContainerRecord::all(stack)
        .filter(|record| record.service.name == service && record.oneoff.is_none());
    own.min_by_key(|record| record.index).map(|record| record.name)
}

/// Makes an anonymous volume; one that an earlier version of this program has made is taken over.
fn anonymous(folder: &Path, former: Option<&Path>) -> io::Result<()> {
    if let Some(former) = former.filter(|former| !folder.is_dir() && former.is_dir()) {
        return fs::rename(former, folder);
    }
    fs::create_dir_all(folder)
}

/// Makes a folder that a bind mount names, and its parents, owned as the folder that they are made in: under sudo
/// what appears in a user's project is the user's.
fn create_like_parent(folder: &Path) -> io::Result<()> {
    let existing = folder.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(Path::new("/"));
    let owner = fs::metadata(existing)?;
    let missing: Vec<&Path> = folder.ancestors().take_while(|ancestor| *ancestor != existing).collect();
    for step in missing.into_iter().rev() {
        fs::create_dir(step)?;
        std::os::unix::fs::chown(step, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
