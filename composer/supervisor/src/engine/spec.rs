//! What a container is made from: the specification for the sandbox, and the files and folders that it stands on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use composer_sandbox::{self as sandbox, ContainerSpec, ProcessSpec, RootSpec};
use composer_stack::{Rootfs, Service};

use super::Engine;
use super::container::Container;
use super::identity::Identity;
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
    ) -> Result<ContainerSpec> {
        let name = container.name();
        let made = |path: &Path, done: io::Result<()>| {
            done.map_err(|error| StartError::new(format!("{name}: make {}: {error}", path.display())))
        };
        let (upper, work) = (container.paths.upper(), container.paths.work());
        made(&upper, fs::create_dir_all(&upper))?;
        let path = self.record.borrow().as_ref().map(|record| record.path.clone()).unwrap_or_default();
        let root = match &service.rootfs {
            Rootfs::Path(lower) => {
                let base = self.paths.base();
                if !base.is_dir() {
                    sandbox::prepare_base(&base)
                        .map_err(|error| StartError::doing("make what all root filesystems have", &error))?;
                }
                RootSpec::Folder { lower: lower.clone(), base, upper, work }
            }
            Rootfs::Host => {
                let mask = self.mask()?;
                RootSpec::Host { mask, upper, work, path }
            }
        };
        Ok(ContainerSpec {
            network: Self::namespace(&service.network),
            domainname: service.domainname.clone(),
            root,
            read_only: service.read_only,
            mounts: self.mounts(container, service)?,
            hosts: identity.hosts,
            resolv_conf: identity.resolv_conf,
            process: ProcessSpec {
                argv: service.argv(),
                env: environment(self, service, &identity.hostname),
                cwd: service.working_dir.clone(),
                user: service.user.clone(),
                terminal: service.tty,
                terminal_size: None,
            },
            init: service.init,
            cgroup_tasks: self.container_group(&name).tasks_files(),
            hostname: identity.hostname,
        })
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
