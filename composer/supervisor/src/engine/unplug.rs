//! Links on their way out. The kernel lets whoever removes one wait for tens of milliseconds, so nothing waits for it that
//! can go on: the same container's next link is another.

use std::collections::BTreeMap;
use std::rc::Rc;

use composer_network::{Error, names, remove_inside};
use tokio::sync::watch;

use super::Engine;
use super::container::Container;
use crate::protocol::Action;

/// How many links of each container are on their way out.
pub type Leaving = watch::Sender<BTreeMap<String, u32>>;

impl Engine {
    /// Begins to take a container's link away. Whatever fails is told.
    pub(super) async fn unplug(self: &Rc<Self>, container: &Rc<Container>) {
        let keys: Vec<String> = {
            let record = container.record.borrow();
            record.service.network.attachments().map(|(key, _)| key.to_owned()).collect()
        };
        for key in keys {
            self.unplug_from(container, &key).await;
        }
        let name = container.name();
        let space = self.spaces.borrow_mut().remove(&name);
        if let Some(netns) = space {
            self.see_off(container, remove_inside(netns));
        }
        self.unlimit_bandwidth(container).await;
    }

    async fn unplug_from(self: &Rc<Self>, container: &Rc<Container>, key: &str) {
        let name = container.name();
        match self.host.begin_unplug(&names::veth(&self.stack, &name, key)).await {
            Ok(None) => {}
            Ok(Some(removal)) => self.see_off(container, removal),
            Err(error) => self.stays(container, &error),
        }
    }

    /// Goes on while a link of a container is on its way out.
    fn see_off(
        self: &Rc<Self>,
        container: &Rc<Container>,
        removal: impl Future<Output = Result<(), Error>> + 'static,
    ) {
        let name = container.name();
        self.unplugging.send_modify(|leaving| *leaving.entry(name.clone()).or_default() += 1);
        let (engine, container) = (Rc::clone(self), Rc::clone(container));
        tokio::task::spawn_local(async move {
            if let Err(error) = removal.await {
                engine.stays(&container, &error);
            }
            engine.unplugging.send_modify(|leaving| count_down(leaving, &name));
        });
    }

    fn stays(&self, container: &Container, error: &Error) {
        let text = format!("its link could not be removed: {error}");
        self.announce_container(container, Action::Warning(text));
    }

    /// Returns once no link of a container is on its way out any more.
    pub(super) async fn unplugged(&self, name: &str) {
        // Fails only when the engine itself is gone.
        let _ = self.unplugging.subscribe().wait_for(|leaving| !leaving.contains_key(name)).await;
    }

    /// The same of all containers.
    pub(super) async fn all_unplugged(&self) {
        let _ = self.unplugging.subscribe().wait_for(BTreeMap::is_empty).await;
    }
}

fn count_down(leaving: &mut BTreeMap<String, u32>, name: &str) {
    if let Some(count) = leaving.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            leaving.remove(name);
        }
    }
}
