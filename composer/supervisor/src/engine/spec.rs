//! What a container is made from: the specification for the sandbox, and the files and folders that it stands on.

use std::fs;
use std::path::PathBuf;

use composer_sandbox::{self as sandbox, ContainerSpec, DeviceSpec, ProcessSpec, RootSpec};
use composer_stack::{Image, Rootfs, Service};

use super::Engine;
use super::container::Container;
use super::identity::Identity;
use super::isolation;
use super::start::{Result, StartError};

/// The environment that a service's programs run in.
pub fn environment(engine: &Engine, service: &Service, hostname: &str) -> Vec<(String, String)> {
    let mut env = service.environment.clone();
    env.entry("HOSTNAME".to_owned()).or_insert_with(|| hostname.to_owned());
    if service.rootfs == Rootfs::Host
        && let Some(record) = &*engine.record.borrow()
    {
        let path: Vec<String> = record.path.iter().map(|folder| folder.display().to_string()).collect();
        if !path.is_empty() {
            env.entry("PATH".to_owned()).or_insert_with(|| path.join(":"));
        }
    }
    env.into_iter().collect()
}

impl Engine {
    /// The container as the sandbox makes it, with the files and folders that it stands on.
    pub(super) fn spec(
        &self,
        container: &Container,
        service: &Service,
        identity: Identity,
        devices: Vec<DeviceSpec>,
    ) -> Result<ContainerSpec> {
        let name = container.name();
        let root = self.root(container, service)?;
        Ok(ContainerSpec {
            network: Self::namespace(&service.network),
            domainname: service.domainname.clone(),
            root,
            read_only: service.read_only,
            mounts: self.mounts(container, service)?,
            hosts: identity.hosts,
            resolv_conf: identity.resolv_conf,
            process: ProcessSpec {
                terminal: service.tty,
                ..isolation::process(service, service.argv(), environment(self, service, &identity.hostname))
            },
            init: service.init,
            cgroup_tasks: self.tasks_files(&name, service),
            isolation: isolation::spec(service, devices),
            hostname: identity.hostname,
            userns: container.record.borrow().userns,
            hooks: None,
        })
    }

    /// What its root filesystem is made of.
    pub(super) fn root(&self, container: &Container, service: &Service) -> Result<RootSpec> {
        let (upper, work) = (container.paths.upper(), container.paths.work());
        fs::create_dir_all(&upper).map_err(|error| {
            StartError::new(format!("{}: make {}: {error}", container.name(), upper.display()))
        })?;
        match &service.rootfs {
            Rootfs::Path(lower) => {
                Ok(RootSpec::Layers { layers: vec![lower.clone()], base: self.base()?, upper, work })
            }
            Rootfs::Image(image) => {
                let layers = layers(service, image, &["image".to_owned()])?;
                Ok(RootSpec::Layers { layers, base: self.base()?, upper, work })
            }
            Rootfs::Source(image) => Err(not_here(service, &image.reference, &["image".to_owned()])),
            Rootfs::Host => {
                let path =
                    self.record.borrow().as_ref().map(|record| record.path.clone()).unwrap_or_default();
                Ok(RootSpec::Host { mask: self.mask()?, upper, work, path })
            }
        }
    }

    /// The layer below all others.
    pub(super) fn base(&self) -> Result<PathBuf> {
        let base = self.paths.base();
        if !base.is_dir() {
            sandbox::prepare_base(&base)
                .map_err(|error| StartError::doing("make what all root filesystems have", &error))?;
        }
        Ok(base)
    }

    /// What hides the host's secrets, as they were when the operation began.
    fn mask(&self) -> Result<PathBuf> {
        if let Some(mask) = &*self.mask.borrow() {
            return Ok(mask.clone());
        }
        let mask = sandbox::host::current_mask(&self.paths.host_mask())
            .map_err(|error| StartError::doing("hide the host's secrets", &error))?;
        *self.mask.borrow_mut() = Some(mask.clone());
        Ok(mask)
    }
}

/// The layers of an image that a service has at this place of the file, below itself.
pub fn layers(service: &Service, image: &Image, at: &[String]) -> Result<Vec<PathBuf>> {
    let Some(lost) = image.layers.iter().find(|layer| !layer.is_dir()) else {
        return Ok(image.layers.clone());
    };
    // Somebody has taken the files away.
    let why = format!("has lost the layer {}", lost.display());
    Err(of_image(service, &image.reference, at, &why, "bring it anew: `compose pull`, then `compose up`"))
}

/// An image that has not been brought.
pub fn not_here(service: &Service, image: &str, at: &[String]) -> StartError {
    of_image(service, image, at, "is not here", "bring it: `compose pull`")
}

fn of_image(service: &Service, image: &str, at: &[String], why: &str, help: &str) -> StartError {
    StartError {
        help: Some(help.to_owned()),
        at: ["services".to_owned(), service.name.clone()].into_iter().chain(at.iter().cloned()).collect(),
        ..StartError::new(format!("service {}: its image `{image}` {why}", service.name))
    }
}
