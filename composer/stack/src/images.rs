//! The images that the services of a file name, for whoever brings, lists or pushes them.

use std::collections::{BTreeMap, BTreeSet};

use crate::loaded::{Loaded, PLATFORM};
use crate::values;
use crate::yaml::Node;

/// What a service says of its image, in the file's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImage {
    /// The service.
    pub service: String,
    /// `image`, where there is one.
    pub image: Option<String>,
    /// `platform`; the caller's DOCKER_DEFAULT_PLATFORM where the file does not set it.
    pub platform: Option<String>,
    /// `pull_policy`.
    pub pull_policy: Option<String>,
    /// Whether it has a `build` section.
    pub is_built: bool,
}

impl Loaded {
    /// Puts other words where services name these images.
    pub fn rename_images(&mut self, names: &BTreeMap<String, String>) {
        let services: Vec<String> = self.names("services");
        for service in services {
            let node = self.root.get_mut("services").and_then(|services| services.get_mut(&service));
            let Some(image) = node.and_then(|service| service.get_mut("image")) else { continue };
            if let Some(name) = image.text_value().and_then(|text| names.get(text)) {
                *image = Node::text(image.span, name.clone());
            }
        }
    }

    /// Those of these services, in the order of their names; of all where none is named.
    pub fn service_images(&self, services: &[String]) -> Vec<ServiceImage> {
        let names = self.names("services").into_iter();
        let wanted = names.filter(|name| services.is_empty() || services.contains(name));
        wanted.filter_map(|name| Some(self.image_of(&name, self.service(&name)?))).collect()
    }

    /// The images that these services, or all, have besides their own: of steps of `pre_start`, and mounts. Each once, with
    /// its platform where it has one.
    pub fn other_images(&self, services: &[String]) -> BTreeSet<(String, Option<String>)> {
        let names = self.names("services").into_iter();
        let wanted = names.filter(|name| services.is_empty() || services.contains(name));
        let mut found = BTreeSet::new();
        for service in wanted.filter_map(|name| self.service(&name)) {
            let list = |key: &str| service.get(key).map(Node::items).unwrap_or_default().iter();
            let text = |node: &Node, key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
            let platform = text(service, "platform");
            found.extend(list("pre_start").filter_map(|step| Some((text(step, "image")?, platform.clone()))));
            let mounts = list("volumes").filter(|mount| text(mount, "type").as_deref() == Some("image"));
            found.extend(mounts.filter_map(|mount| Some((text(mount, "source")?, None))));
        }
        found
    }

    /// These services and all that they depend on.
    pub fn with_dependencies(&self, services: &[String]) -> Vec<String> {
        let (mut found, mut open) = (BTreeSet::new(), services.to_vec());
        while let Some(name) = open.pop() {
            let needed = self.service(&name).and_then(|service| service.get("depends_on"));
            let names = needed.into_iter().flat_map(Node::entries).map(|(name, _)| name.clone());
            if !found.contains(&name) {
                open.extend(names);
                found.insert(name);
            }
        }
        found.into_iter().collect()
    }

    fn service(&self, name: &str) -> Option<&Node> {
        self.root.get("services")?.get(name)
    }

    fn image_of(&self, name: &str, service: &Node) -> ServiceImage {
        let text = |key: &str| values::text(service.get(key)).filter(|text| !text.is_empty());
        let default = || self.environment.get(PLATFORM).filter(|platform| !platform.is_empty()).cloned();
        ServiceImage {
            service: name.to_owned(),
            image: text("image"),
            platform: text("platform").or_else(default),
            pull_policy: text("pull_policy"),
            is_built: service.get("build").is_some_and(|build| !build.is_null()),
        }
    }
}
