//! Names on a network that several stacks are on.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;

use composer_network::Host;
use composer_network::dns::{Neighbours, Zone};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use simple_dns::TYPE;

use crate::dns::{entry, serve, server, zone};
use crate::world::{Container, Over, addresses, bridge, on_a_host, query};

/// A folder of a test's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("composer-network-{test}-{}", std::process::id()));
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn other(last: u8) -> Rc<Zone> {
    let other = zone();
    other.set("web-1", entry(&["other-web-1", "web"], Ipv4Addr::new(172, 18, 0, last)));
    Rc::new(other)
}

#[test]
fn a_stack_knows_the_others_names_while_they_are_there() {
    on_a_host(|| async {
        let folder = Folder::new("neighbours");
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, own) = server();
        let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
        let _listener = serve(&server, &own, attached);
        let asked = async || addresses(1, &one.asks(Over::Udp, query(1, "web", TYPE::A)).await);

        // One is there before, one comes later.
        let first = Neighbours::join(&folder.0, "first", other(21)).expect("joined");
        first.publish().expect("published");
        let _own = Neighbours::join(&folder.0, "shop", Rc::clone(&own)).expect("joined");
        assert_eq!(asked().await, [Ipv4Addr::new(172, 18, 0, 21)]);

        let second = Neighbours::join(&folder.0, "second", other(22)).expect("joined");
        second.publish().expect("published");
        until(async || asked().await.len() == 2).await;

        // What cannot be read says nothing, and keeps nobody else's from being read.
        fs::write(folder.0.join("broken.json.new"), "{").expect("written");
        fs::rename(folder.0.join("broken.json.new"), folder.0.join("broken.json")).expect("moved");
        first.leave().expect("left");
        until(async || asked().await == [Ipv4Addr::new(172, 18, 0, 22)]).await;
        let files = fs::read_dir(&folder.0).expect("read").count();
        assert_eq!(files, 2, "its own, which has told nothing, is not there");
        second.leave().expect("left");
        until(async || asked().await.is_empty()).await;
    });
}

/// Waits until it is so: the task that follows the folder has its turn in between, woken by the same event.
async fn until(holds: impl AsyncFn() -> bool) {
    while !holds().await {
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_is_told_is_written_in_one_step_and_for_root_alone() {
    on_a_host(|| async {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new("told");
        let told = Neighbours::join(&folder.0, "shop", other(21)).expect("joined");
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).expect("inotify");
        inotify.add_watch(&folder.0, AddWatchFlags::IN_MOVED_TO).expect("watched");
        told.publish().expect("published");
        let events = inotify.read_events().expect("events");
        assert_eq!(events[0].name.as_deref(), Some("shop.json".as_ref()));
        for path in [folder.0.clone(), folder.0.join("shop.json")] {
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
        told.leave().expect("left");
        assert_eq!(fs::read_dir(&folder.0).expect("read").count(), 0);
    });
}
