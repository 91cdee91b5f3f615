//! Forwarding is turned on for stacks and put back after the last.

use std::fs;
use std::path::PathBuf;

use composer_network::firewall::Forwarding;

use crate::world::{on_a_host, run};

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

fn value(path: &str) -> String {
    fs::read_to_string(path).expect("a setting").trim().to_owned()
}

fn registry(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("composer-network-{test}-{}", std::process::id()))
}

#[test]
fn forwarding_is_put_back_after_the_last_stack_that_needs_it() {
    on_a_host(|| async {
        fs::write(V4, "0").expect("set");
        let folder = registry("forwarding");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", true, false).expect("turned on");
        assert_eq!((value(V4), value(V6)), ("1".into(), "0".into()));
        forwarding.need("two", true, true).expect("turned on");
        forwarding.need("two", true, true).expect("again");
        assert_eq!((value(V4), value(V6)), ("1".into(), "1".into()));
        forwarding.release("two").expect("released");
        forwarding.release("nobody").expect("released");
        assert_eq!((value(V4), value(V6)), ("1".into(), "1".into()));
        forwarding.release("one").expect("released");
        assert_eq!((value(V4), value(V6)), ("0".into(), "0".into()));
        assert!(!folder.exists());
    });
}

#[test]
fn what_a_host_has_turned_on_itself_stays_on_and_is_not_remembered() {
    on_a_host(|| async {
        fs::write(V4, "1").expect("set");
        let folder = registry("own-choice");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", true, false).expect("nothing to do");
        assert!(!folder.exists());
        forwarding.release("one").expect("nothing to do");
        assert_eq!(value(V4), "1");
    });
}

#[test]
fn an_interface_that_takes_routes_from_advertisements_goes_on_doing_so() {
    on_a_host(|| async {
        run("ip", "link add up0 type veth peer name up1");
        let accept = "/proc/sys/net/ipv6/conf/up0/accept_ra";
        fs::write(accept, "1").expect("set");
        let folder = registry("advertised");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", false, true).expect("turned on");
        assert_eq!((value(V6), value(accept)), ("1".into(), "2".into()));
        forwarding.release("one").expect("released");
        assert_eq!((value(V6), value(accept)), ("0".into(), "1".into()));
        forwarding.need("one", false, true).expect("turned on");
        run("ip", "link del up0");
        forwarding.release("one").expect("its interface has gone");
        assert!(!folder.exists() && value(V6) == "0");
    });
}
