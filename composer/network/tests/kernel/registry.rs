//! The registry of subnets: no overlap, whoever asks at the same time, and nothing left when the last is given back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use composer_network::subnets::Registry;
use composer_network::{Error, IpNet};

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("composer-network-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn registry(&self) -> PathBuf {
        self.0.join("host")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().expect("a subnet")).collect()
}

fn claim(dir: &Path, stack: &str, taken: &[&str]) -> IpNet {
    Registry::open(dir).claim(stack, "default", &nets(taken)).expect("a subnet")
}

#[test]
fn the_same_network_keeps_its_subnet_and_another_gets_another() {
    let folder = Folder::new("same");
    let first = claim(&folder.registry(), "shop", &[]);
    assert_eq!(first, "172.18.0.0/22".parse().expect("a subnet"));
    assert_eq!(claim(&folder.registry(), "shop", &[]), first);
    assert_eq!(claim(&folder.registry(), "blog", &[]), "172.18.4.0/22".parse().expect("a subnet"));
}

#[test]
fn routes_are_kept_clear_of_but_not_the_ways_to_everywhere() {
    let folder = Folder::new("routes");
    let taken = ["0.0.0.0/1", "128.0.0.0/1", "172.18.0.0/16", "172.19.1.7/32", "192.168.0.0/16"];
    assert_eq!(claim(&folder.registry(), "shop", &taken), "172.19.4.0/22".parse().expect("a subnet"));
}

#[test]
fn the_own_bridge_is_no_clash_and_a_new_route_is() {
    let folder = Folder::new("clash");
    let first = claim(&folder.registry(), "shop", &[]);
    let own = ["172.18.0.1/22", "172.18.0.0/22", "172.18.0.1/32", "172.18.0.0/32", "172.18.3.255/32"];
    assert_eq!(claim(&folder.registry(), "shop", &own), first);
    let vpn = "172.18.2.0/24";
    let moved = claim(&folder.registry(), "shop", &[&own[..], &[vpn]].concat());
    assert_ne!(moved, first);
    assert_eq!(claim(&folder.registry(), "shop", &[vpn]), moved);
    assert_eq!(Registry::open(&folder.registry()).list().expect("a list").len(), 1);
}

#[test]
fn where_all_private_ranges_are_routed_there_is_one_more() {
    let folder = Folder::new("private");
    let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
    assert_eq!(claim(&folder.registry(), "shop", &private), "198.19.0.0/22".parse().expect("a subnet"));
    assert_eq!(claim(&folder.registry(), "blog", &private), "198.19.4.0/22".parse().expect("a subnet"));
    assert_eq!(claim(&folder.registry(), "news", &private[1..]), "10.224.0.0/22".parse().expect("a subnet"));
}

#[test]
fn all_taken_is_an_error_that_says_so() {
    let folder = Folder::new("full");
    let taken = nets(&["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8", "198.18.0.0/15"]);
    let error = Registry::open(&folder.registry()).claim("shop", "default", &taken).expect_err("no room");
    assert!(matches!(error, Error::NoSubnet { .. }), "{error}");
    assert!(
        error.to_string().contains("198.19.0.0/16; choose one")
            && error.to_string().contains("`ipam.config.subnet`")
    );
    assert!(!folder.registry().exists());
}

#[test]
fn what_is_released_leaves_nothing_behind() {
    let folder = Folder::new("release");
    let registry = Registry::open(&folder.registry());
    registry.release_stack("shop").expect("nothing to release");
    assert!(!folder.registry().exists());
    claim(&folder.registry(), "shop", &[]);
    claim(&folder.registry(), "blog", &[]);
    registry.release_stack("shop").expect("released");
    assert_eq!(registry.list().expect("a list").len(), 1);
    registry.release_stack("blog").expect("released");
    assert!(!folder.registry().exists());
}

#[test]
fn a_damaged_registry_is_named_and_not_overwritten() {
    let folder = Folder::new("damaged");
    std::fs::create_dir(folder.registry()).expect("a folder");
    let file = folder.registry().join("subnets.json");
    std::fs::write(&file, "{").expect("written");
    let error = Registry::open(&folder.registry()).claim("shop", "default", &[]).expect_err("damaged");
    assert!(error.to_string().starts_with(&format!("{} is damaged: ", file.display())), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), "{");
}

#[test]
fn twenty_at_once_get_twenty_subnets_and_leave_nothing() {
    let folder = Folder::new("twenty");
    for _ in 0..20 {
        let claimed: Vec<IpNet> = thread::scope(|scope| {
            let dir = folder.registry();
            let claims: Vec<_> = (0..20)
                .map(|n| (n, dir.clone()))
                .map(|(n, dir)| scope.spawn(move || claim(&dir, &format!("stack-{n}"), &[])))
                .collect();
            claims.into_iter().map(|claim| claim.join().expect("a subnet")).collect()
        });
        assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 20);
        // Some go while others come: the folder is removed and made again under their feet.
        thread::scope(|scope| {
            for n in 0..20 {
                let registry = Registry::open(&folder.registry());
                scope.spawn(move || {
                    registry.release_stack(&format!("stack-{n}")).expect("released");
                    registry.claim(&format!("later-{n}"), "default", &[]).expect("a subnet");
                    registry.release_stack(&format!("later-{n}")).expect("released");
                });
            }
        });
        assert!(!folder.registry().exists());
    }
}

#[test]
fn a_chosen_subnet_is_had_once() {
    let folder = Folder::new("chosen");
    let registry = Registry::open(&folder.registry());
    let chosen: IpNet = "172.18.2.0/24".parse().expect("a subnet");
    registry.claim_exactly("shop", "back", chosen, &[]).expect("free");
    registry.claim_exactly("shop", "back", chosen, &[]).expect("its own");
    // What is given out keeps clear of it.
    assert_eq!(
        registry.claim("blog", "default", &[]).expect("one"),
        "172.18.4.0/22".parse().expect("a subnet")
    );
    let error = registry.claim_exactly("blog", "back", chosen, &[]).expect_err("taken");
    assert_eq!(
        error.to_string(),
        "the subnet 172.18.2.0/24 of network back overlaps 172.18.2.0/24 of network back of stack shop: give it another \
         `subnet`, or none, which takes a free one"
    );
    let vpn = nets(&["10.8.0.0/16"]);
    let error = registry.claim_exactly("shop", "vpn", "10.8.1.0/24".parse().expect("a subnet"), &vpn);
    let error = error.expect_err("routed").to_string();
    assert!(error.contains("overlaps 10.8.0.0/16, which the host has a route to"), "{error}");
    registry.release("shop", "back").expect("released");
    registry.claim_exactly("blog", "back", chosen, &[]).expect("free again");
}

#[test]
fn both_families_are_held_by_one_network() {
    let folder = Folder::new("families");
    let registry = Registry::open(&folder.registry());
    let (v4, v6) =
        (registry.claim("shop", "a", &[]).expect("one"), registry.claim_v6("shop", "a", &[]).expect("one"));
    assert!(v6.to_string().starts_with("fd") && v6.prefix_len() == 64, "{v6}");
    assert_eq!(
        (registry.claim("shop", "a", &[]).expect("it"), registry.claim_v6("shop", "a", &[]).expect("it")),
        (v4, v6)
    );
    let other = registry.claim_v6("shop", "b", &[]).expect("one");
    assert_ne!(other, v6);
    // One that the host has a route to by now is given up.
    let moved = registry.claim_v6("shop", "a", &[v6.supernet().expect("a wider one")]).expect("another");
    assert_ne!(moved, v6);
}

#[test]
fn link_groups_differ_and_go_with_their_stacks() {
    let folder = Folder::new("groups");
    let registry = Registry::open(&folder.registry());
    let shop = registry.group("shop").expect("one");
    assert_eq!(registry.group("shop").expect("the same"), shop);
    assert_ne!(registry.group("blog").expect("another"), shop);
    registry.release_stack("shop").expect("released");
    assert_eq!(registry.group("shop").expect("by its name"), shop);
    for stack in ["shop", "blog"] {
        registry.release_stack(stack).expect("released");
    }
    assert!(!folder.registry().exists());
}

#[test]
fn who_tidies_up_does_not_take_the_folder_from_who_is_about_to_write() {
    let folder = Folder::new("tidied");
    let (dir, at_work) = (folder.registry(), AtomicUsize::new(4));
    thread::scope(|scope| {
        for n in 0..4 {
            let (registry, at_work) = (Registry::open(&dir), &at_work);
            scope.spawn(move || {
                let stack = format!("stack-{n}");
                let outcome = (0..500).try_for_each(|_| {
                    registry.group(&stack)?;
                    registry.release_stack(&stack)
                });
                at_work.fetch_sub(1, Ordering::Relaxed);
                outcome.expect("done");
            });
        }
        while at_work.load(Ordering::Relaxed) > 0 {
            composer_network::Folder::new(&dir).tidy_unlocked();
        }
    });
    assert!(!dir.exists());
}
