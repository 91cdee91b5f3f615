//! What becomes of a file's networks; the canonical tree is given as it is after normalizing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::stack;
use crate::contents::Contents;
use crate::diagnostic::Report;
use crate::model::{
    Bandwidth, Driver, ExternalLink, ExtraHost, HostAddress, MacvlanMode, MountKind, Namespace, Network,
    NetworkMode, Port, PortMode, Protocol, Recursion, Seccomp, Service, ServiceLink, Stack, Ulimit,
};
use crate::yaml;

fn lowered(text: &str) -> Stack {
    let mut report = Report::default();
    let mut roots = yaml::parse(Path::new("compose.yaml"), text.to_owned(), &mut report).unwrap();
    stack(&roots.remove(0), "shop".to_owned(), PathBuf::from("/shop"), Vec::new(), Contents::default())
}

#[test]
fn a_service_without_networks_is_on_the_stacks_own() {
    let stack = lowered(
        "services:\n  a: {x-rootfs: host, networks: {default: }}\n  b: {x-rootfs: host, network_mode: bridge}\n",
    );
    assert!(stack.services.values().all(|service| service.network.is_plain()));
    let network = &stack.networks["default"];
    assert_eq!(
        (network.name.as_str(), network.external, network.ipv4, network.ipv6),
        ("shop_default", false, true, false)
    );
    assert!(network.masquerade && !network.isolated && !network.internal && network.driver == Driver::Bridge);
    // What is not asked for leaves no trace: records from before keep their hash.
    let text = serde_json::to_string(&stack.services["a"]).unwrap();
    for key in [
        "network",
        "ports",
        "sysctls",
        "bandwidth",
        "dns",
        "mac_address",
        "external_links",
        "isolation",
        "privileged",
        "cap_add",
        "security_opt",
        "ulimits",
        "shm_size",
        "storage_size",
        "devices",
        "pid",
        "ipc",
        "uts",
        "cgroup",
        "annotations",
        "volumes_from",
        "secrets",
        "configs",
    ] {
        assert!(!text.contains(&format!("\"{key}\"")), "{text}");
    }
}

#[test]
fn networks_that_nobody_is_on_are_left_out() {
    let stack = lowered(
        "services:\n  a: {x-rootfs: host, networks: {front: , shared: }}\n  b: {build: ., networks: {unused: }}\n\
         networks: {front: {}, shared: {external: true, name: proxy}, unused: {}, other: {}}\n",
    );
    let names: Vec<_> =
        stack.networks.values().map(|network| (network.name.as_str(), network.external)).collect();
    assert_eq!(names, [("shop_front", false), ("proxy", true)]);
}

#[test]
fn modes() {
    for (mode, wanted) in [
        ("host", NetworkMode::Host),
        ("none", NetworkMode::None),
        ("service:b", NetworkMode::Service("b".to_owned())),
        ("container:other-db-1", NetworkMode::Container("other-db-1".to_owned())),
        ("\"\"", NetworkMode::default()),
    ] {
        let stack = lowered(&format!("services:\n  a: {{x-rootfs: host, network_mode: {mode}}}\n"));
        assert_eq!(stack.services["a"].network, wanted);
        assert_eq!(stack.networks.is_empty(), !wanted.is_plain());
    }
}

#[test]
fn a_network_with_everything() {
    let stack = lowered(
        "services:\n  a:\n    x-rootfs: host\n    networks:\n      n:\n        aliases: [x, y]\n        ipv4_address: 10.1.0.5\n        \
         ipv6_address: fd01::5\n        link_local_ips: [169.254.1.5, fe80::5]\n        mac_address: 02-42-AC-11-00-02\n        \
         priority: 5\n        gw_priority: -1\n        interface_name: lan\nnetworks:\n  n:\n    enable_ipv6: true\n    \
         internal: true\n    attachable: true\n    labels: {a: b}\n    driver_opts:\n      \
         com.docker.network.bridge.name: br-n\n      com.docker.network.driver.mtu: 1400\n      \
         com.docker.network.bridge.enable_ip_masquerade: 'false'\n      com.docker.network.bridge.enable_icc: '0'\n      com.docker.network.host_ipv4: 192.0.2.1\n      com.docker.network.bridge.trusted_host_interfaces: 'vxlan.1:eth3'\n    ipam:\n      \
         config:\n        - {subnet: 10.1.0.9/24, gateway: 10.1.0.254, ip_range: 10.1.0.128/25, aux_addresses: {r: 10.1.0.7}}\n        \
         - {subnet: 'fd01::/64'}\n",
    );
    let network = &stack.networks["n"];
    assert!(
        network.ipv6 && network.internal && network.attachable && network.isolated && !network.masquerade
    );
    assert_eq!((network.bridge.as_deref(), network.mtu), (Some("br-n"), Some(1400)));
    assert_eq!((network.source(true), network.source(false)), ("192.0.2.1".parse().ok(), None));
    assert_eq!(network.trusted(), ["vxlan.1", "eth3"]);
    let [first, second] = network.ipam.as_slice() else { panic!("{:?}", network.ipam) };
    assert_eq!(
        (first.subnet.to_string(), first.ip_range.unwrap().to_string()),
        ("10.1.0.0/24".to_owned(), "10.1.0.128/25".to_owned())
    );
    assert_eq!((first.gateway, first.aux_addresses.len()), (Some("10.1.0.254".parse().unwrap()), 1));
    assert_eq!((second.subnet.to_string(), second.gateway), ("fd01::/64".to_owned(), None));
    let at = stack.services["a"].network.in_order()[0].1;
    assert_eq!(at.aliases.iter().map(String::as_str).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!((at.ipv4_address, at.ipv6_address), ("10.1.0.5".parse().ok(), "fd01::5".parse().ok()));
    assert_eq!((at.priority, at.gw_priority, at.interface_name.as_deref()), (5, -1, Some("lan")));
    assert_eq!(at.link_local_ips.len(), 2);
    assert_eq!(at.mac_address.unwrap().to_string(), "02:42:ac:11:00:02");
    // It survives its way through a record.
    let text = serde_json::to_string(&stack).unwrap();
    assert_eq!(serde_json::from_str::<Stack>(&text).unwrap(), stack);
}

#[test]
fn what_is_wrong_with_an_option_is_said_without_a_file_as_well() {
    let refused = |key: &str, value: &str, of: (bool, bool)| {
        let options = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        Network::with_options("n", "bridge", options, of).err()
    };
    let (mtu, mode) = ("com.docker.network.driver.mtu", "com.docker.network.bridge.gateway_mode_ipv4");
    assert_eq!(refused(mtu, "1000", (false, false)), None);
    let expected = format!(
        "the option {mtu}: `1000` is not an MTU for this network: a number of bytes from 1280 to 65535"
    );
    assert_eq!(refused(mtu, "1000", (true, false)), Some(expected));
    assert_eq!(refused(mode, "isolated", (false, true)), None);
    assert!(refused(mode, "isolated", (false, false)).is_some_and(|told| told.contains("`--internal`")));
}

#[test]
fn ports_without_an_address_have_that_of_the_way_out() {
    let network = |address: &str, more: &str| {
        format!("{{driver_opts: {{com.docker.network.bridge.host_binding_ipv4: {address}}}{more}}}")
    };
    let stack = lowered(&format!(
        "services:\n  a:\n    x-rootfs: host\n    networks: {{b: , c: {{gw_priority: 1}}, d: {{gw_priority: 2}}}}\n    ports: \
         [{{target: 80, published: '80'}}, {{host_ip: 192.0.2.1, target: 81, published: '81'}}]\n  b:\n    x-rootfs: host\n    networks: {{e: }}\n    ports: [{{target: 82, published: '82'}}]\n  c:\n    x-rootfs: host\n    networks: {{f: }}\n    ports: [{{target: 83}}]\n  \
         d:\n    x-rootfs: host\n    networks: {{e: , g: }}\n    ports: [{{target: 84}}]\nnetworks:\n  b: \
         {}\n  c: {}\n  d: {}\n  e: {}\n  f: {}\n  g: {}\n",
        network("127.0.0.2", ""),
        network("127.0.0.3", ""),
        network("127.0.0.4", ", internal: true"),
        network("0.0.0.0", ""),
        network("'::'", ""),
        network("'::1'", ", enable_ipv6: true"),
    ));
    let at = |service: &str| -> Vec<Option<String>> {
        stack.services[service].ports.iter().map(|port| port.host_ip.map(|ip| ip.to_string())).collect()
    };
    assert_eq!(at("a"), [Some("127.0.0.3".to_owned()), Some("192.0.2.1".to_owned())]);
    assert_eq!(at("b"), [None]);
    assert_eq!(at("c"), [Some("::".to_owned())]);
    // The way out of IPv4 decides, also where it has none.
    assert_eq!(at("d"), [None]);
}

#[test]
fn macvlan() {
    let stack = lowered(
        "services:\n  a: {x-rootfs: host, networks: {n: }}\nnetworks: {n: {driver: macvlan, driver_opts: {parent: eth0, macvlan_mode: vepa}}}\n",
    );
    assert_eq!(
        stack.networks["n"].driver,
        Driver::Macvlan { parent: Some("eth0".to_owned()), mode: MacvlanMode::Vepa }
    );
    assert!(!stack.networks["n"].internal);
}

#[test]
fn nothing_is_published_on_macvlan_alone_and_nothing_reached_without_a_parent() {
    let stack = lowered(
        "services:\n  a: {x-rootfs: host, networks: {n: }, ports: [{target: 80}]}\n  \
         b: {x-rootfs: host, networks: {n: , m: }, ports: [{target: 80}]}\n  \
         c: {x-rootfs: host, network_mode: host, ports: [{target: 80}]}\nnetworks: {n: {driver: macvlan}, m: {}}\n",
    );
    assert_eq!(["a", "b", "c"].map(|service| stack.services[service].ports.len()), [0, 1, 1]);
    assert!(stack.networks["n"].internal && !stack.networks["m"].internal);
}

#[test]
fn names_ports_and_rates() {
    let stack = lowered(
        "x-resources: {limits: {bandwidth: {egress: 1gbit}}}\nservices:\n  a:\n    x-rootfs: host\n    \
         ports: [{target: 80, published: '8000-8010', host_ip: '::1', protocol: UDP, mode: host, name: web}, {target: 81}]\n    \
         expose: ['90']\n    links: [b, 'c:db']\n    external_links: [x-db-1, 'x-db-1:db', 'a:b:c']\n    dns: [1.1.1.1, '::1']\n    dns_search: [lan]\n    dns_opt: [ndots:1]\n    \
         extra_hosts: ['gate=host-gateway', 'six=::1']\n    sysctls: {net.core.somaxconn: 1024}\n    x-bandwidth: {ingress: 10mbit}\n",
    );
    let service = &stack.services["a"];
    let web = Port {
        host_ip: "::1".parse().ok(),
        published: Some((8000, 8010)),
        target: 80,
        protocol: Protocol::Udp,
        mode: PortMode::Host,
        name: Some("web".to_owned()),
        app_protocol: None,
    };
    let plain = Port {
        host_ip: None,
        published: None,
        target: 81,
        protocol: Protocol::Tcp,
        mode: PortMode::Ingress,
        name: None,
        app_protocol: None,
    };
    assert_eq!(service.ports, [web, plain]);
    assert_eq!(service.expose, ["90"]);
    let link = |service: &str, alias: Option<&str>| ServiceLink {
        service: service.to_owned(),
        alias: alias.map(str::to_owned),
    };
    assert_eq!(service.links, [link("b", None), link("c", Some("db"))]);
    let external = |container: &str, alias: Option<&str>| ExternalLink {
        container: container.to_owned(),
        alias: alias.map(str::to_owned),
    };
    let wanted = [external("x-db-1", None), external("x-db-1", Some("db")), external("a:b:c", None)];
    assert_eq!(service.external_links, wanted);
    assert_eq!(
        (service.dns.len(), service.dns_search[0].as_str(), service.dns_opt[0].as_str()),
        (2, "lan", "ndots:1")
    );
    let host = |name: &str, address| ExtraHost { name: name.to_owned(), address };
    let six = HostAddress::Ip("::1".parse().unwrap());
    assert_eq!(service.extra_hosts, [host("gate", HostAddress::HostGateway), host("six", six)]);
    assert_eq!(service.sysctls["net.core.somaxconn"], "1024");
    assert_eq!(service.bandwidth, Bandwidth { ingress: Some(10_000_000), egress: None });
    assert_eq!(stack.bandwidth, Bandwidth { ingress: None, egress: Some(1_000_000_000) });
}

#[test]
fn isolation_is_written_and_read_again() {
    let stack = lowered(
        "services:\n  a:\n    x-rootfs: host\n    privileged: true\n    cap_add: [cap_net_admin, SYS_TIME, NET_ADMIN]\n\
         \x20   cap_drop: [all]\n    security_opt: ['no-new-privileges:true', 'seccomp=unconfined']\n\
         \x20   group_add: [video, 12]\n    ulimits: {nofile: 5, core: {soft: 0, hard: -1}}\n    oom_score_adj: -5\n\
         \x20   shm_size: '1048576'\n    storage_opt: {size: 1g}\n    devices: [{source: /dev/null, target: /dev/mine, permissions: r}]\n    device_cgroup_rules: ['c 1:* rwm']\n\
         \x20   pid: host\n    ipc: service:b\n    uts: host\n    cgroup: host\n    annotations: {a.b: c}\n\
         \x20 b: {x-rootfs: host}\n",
    );
    let service = &stack.services["a"];
    let isolation = &service.isolation;
    assert_eq!(isolation.cap_add, ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(isolation.cap_drop, ["ALL"]);
    assert_eq!(isolation.group_add, ["video", "12"]);
    assert_eq!(isolation.ulimits["core"], Ulimit { soft: Some(0), hard: None });
    assert_eq!(isolation.ulimits["nofile"], Ulimit { soft: Some(5), hard: Some(5) });
    assert_eq!((isolation.shm_size, isolation.oom_score_adj), (Some(1 << 20), Some(-5)));
    assert_eq!(isolation.storage_size, Some(1 << 30));
    assert_eq!(isolation.devices[0].permissions, "r");
    assert_eq!((&isolation.pid, &isolation.ipc), (&Namespace::Host, &Namespace::Service("b".to_owned())));
    assert!(isolation.privileged && isolation.uts && isolation.cgroup);
    assert_eq!(isolation.security_opt.seccomp, Seccomp::Unconfined);
    assert_eq!(isolation.annotations["a.b"], "c");
    for service in stack.services.values() {
        let text = serde_json::to_string(service).unwrap();
        assert_eq!(&serde_json::from_str::<Service>(&text).unwrap(), service, "{text}");
    }
}

#[test]
fn mounts_of_other_services_come_along_where_there_is_room() {
    let stack = lowered(
        "services:\n\
         \x20 a: {x-rootfs: host, volumes: [{type: volume, source: d, target: /d, volume: {nocopy: true}}, \
         {type: volume, target: /x}, {type: bind, source: /s, target: /s, bind: {recursive: writable}}], tmpfs: [/t]}\n\
         \x20 b: {x-rootfs: host, volumes_from: [a:ro, 'container:c:ro', 'container:d'], \
         volumes: [{type: bind, source: /own, target: /s}]}\n\
         \x20 c: {x-rootfs: host, volumes_from: [b]}\n",
    );
    let mounts = |service: &str| -> Vec<(String, bool, MountKind)> {
        let mounts = stack.services[service].mounts.iter();
        mounts.map(|mount| (mount.target.clone(), mount.read_only, mount.kind.clone())).collect()
    };
    let bind = |source: &str| MountKind::Bind { source: source.into(), create_host_path: false };
    let named = MountKind::Volume { source: "d".to_owned() };
    let borrowed = MountKind::Borrowed { service: "a".to_owned(), target: "/x".to_owned() };
    let all = [("/s", false, bind("/own")), ("/d", true, named), ("/x", true, borrowed)];
    let all = all.map(|(target, read_only, kind)| (target.to_owned(), read_only, kind));
    assert_eq!((mounts("b"), mounts("c")), (all.to_vec(), all.to_vec()));
    assert!(stack.services["c"].mounts[1].options.no_copy);
    assert_eq!(stack.services["a"].mounts[2].options.recursion, Recursion::Writable);
    let from: Vec<_> = stack.services["b"]
        .volumes_from
        .iter()
        .map(|from| (from.container.as_str(), from.read_only))
        .collect();
    assert_eq!(from, [("c", true), ("d", false)]);
    // What is not asked for leaves no trace.
    let text = serde_json::to_string(&stack.services["a"].mounts[1]).unwrap();
    assert_eq!(text, r#"{"target":"/x","read_only":false,"kind":"anonymous"}"#);
}
