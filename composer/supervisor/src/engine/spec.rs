//! What a container is made from: the specification for the sandbox, and the files and folders that it stands on.

use std::fs;
use std::path::{Path, PathBuf};

use composer_sandbox::{self as sandbox, ContainerSpec, DeviceSpec, ProcessSpec, RootSpec};
use composer_stack::{Rootfs, Service};

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
                if let Some(lost) = image.layers.iter().find(|layer| !layer.is_dir()) {
                    return Err(image_lost(service, &image.reference, lost));
                }
                Ok(RootSpec::Layers { layers: image.layers.clone(), base: self.base()?, upper, work })
            }
            Rootfs::Source(image) => Err(StartError {
                help: Some("bring it: `compose pull`".to_owned()),
                at: ["services", &service.name, "image"].map(str::to_owned).to_vec(),
                ..StartError::new(format!(
                    "service {}: its image `{}` is not here",
                    service.name, image.reference
                ))
            }),
            Rootfs::Host => {
                let path =
                    self.record.borrow().as_ref().map(|record| record.path.clone()).unwrap_or_default();
                Ok(RootSpec::Host { mask: self.mask()?, upper, work, path })
            }
        }
    }

    /// The layer below all others.
    fn base(&self) -> Result<PathBuf> {
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

/// Somebody has taken an image's files away.
fn image_lost(service: &Service, image: &str, layer: &Path) -> StartError {
    StartError {
        help: Some("bring it anew: `compose pull`, then `compose up`".to_owned()),
        at: ["services", &service.name, "image"].map(str::to_owned).to_vec(),
        ..StartError::new(format!(
            "service {}: its image `{image}` has lost the layer {}",
            service.name,
            layer.display()
        ))
    }
}
