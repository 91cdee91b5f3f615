//! Subnets that a user names, beside what the host has.

use crate::namespace::{Namespace, ip};
use crate::stack::Project;

fn file(subnet: &str) -> String {
    format!(
        "services:\n  web: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }}\nnetworks:\n  lan:\n    \
         ipam: {{config: [{{subnet: {subnet}}}]}}\n"
    )
}

#[test]
fn a_part_of_what_a_vpn_routes_may_be_chosen() {
    let host = Namespace::unshared();
    let part = format!("10.246.{}", std::process::id() % 250);
    host.inside(|| {
        ip("link set lo up");
        ip("link add lan0 type veth peer name lan1");
        ip("address add 192.0.2.5/24 dev lan0");
        ip("link set lan0 up");
        ip("link set lan1 up");
        ip("route add 10.0.0.0/8 via 192.0.2.1");
        ip("route add unreachable 172.16.0.0/12");
        ip(&format!("route add {part}.128/25 via 192.0.2.1"));
    });
    let (chosen, created) = (format!("{part}.0/26"), format!("{part}.64/26"));
    let project = Project::new("part-of-a-route", &file(&chosen));
    host.inside(|| {
        let up = project.run(&["up", "-d"]);
        let said = String::from_utf8_lossy(&up.stderr).into_owned();
        let warning = format!(
            "warning: the subnet {chosen} is a part of 10.0.0.0/8, which the host has a route to: for what is in that part \
             it leads to this network now\n --> compose.yaml:5:30\n"
        );
        assert!(up.status.success() && said.contains(&warning), "{said}");
        assert!(project.ok(&["exec", "-T", "web", "ip", "address"]).contains(&format!("inet {part}.")));
        let shared = format!("{}-net", project.name);
        let made = project.run(&["network", "create", "--subnet", &created, &shared]);
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        let warning = format!("the subnet {created} is a part of 10.0.0.0/8");
        assert!(made.status.success() && said.contains(&warning), "{said}");
        project.ok(&["network", "rm", &shared]);
        project.down();
        // What leads elsewhere by itself, and what is on the host's own link.
        for (subnet, other) in
            [(format!("{part}.0/24"), format!("{part}.128/25")), ("192.0.2.64/26".to_owned(), "192.0.2.0/24".to_owned())]
        {
            let refused = Project::new("no-part-of-a-route", &file(&subnet));
            let (_, message) = refused.fails(&["network", "create", "--subnet", &subnet, &shared]);
            assert!(message.contains(&format!("overlaps {other}, which the host has a route to")), "{message}");
            let (_, message) = refused.fails(&["up", "-d"]);
            let expected = format!("overlaps {other}, which the host has a route to\n --> compose.yaml:5:30\n");
            assert!(message.contains(&expected), "{message}");
            refused.assert_nothing_left();
        }
    });
}

#[test]
fn a_subnet_of_a_network_that_is_created_is_one() {
    let project =
        Project::new("no-subnets", "services: { a: { x-rootfs: @busybox@, command: sleep 1000 } }\n");
    for (flags, why) in [
        (
            &["--subnet", "10.241.0.5/24"][..],
            "`--subnet 10.241.0.5/24` has bits set beyond its prefix: write `10.241.0.0/24`",
        ),
        (
            &["--subnet", "10.241.0.0/24", "--ip-range", "10.241.0.5/28"],
            "`--ip-range 10.241.0.5/28` has bits set beyond its prefix: write `10.241.0.0/28`",
        ),
        (&["--subnet", "224.0.5.0/24"], "224.0.0.0/4 is for groups (multicast): choose one of 10.0.0.0/8"),
        (&["--subnet", "0.0.0.0/26"], "begins with 0.0.0.0, which is no address"),
        (&["--ipv6", "--subnet", "fe80::/64"], "link-local"),
    ] {
        let (_, message) = project.fails(&[&["network", "create"], flags, &["no-subnet"]].concat());
        assert!(message.contains(why), "{message}");
    }
    project.assert_nothing_left();
}
