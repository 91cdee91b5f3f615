//! Merging by the table. What is expected was taken from Docker Compose v2.40.3.

use serde_json::{Value as Json, json};

use super::ipam_pools;
use crate::diagnostic::Report;
use crate::shape::tests::{json, service, shaped};
use crate::source::Span;
use crate::tree::put;
use crate::yaml::{Map, Node, Tag, Value};

#[test]
fn services() {
    let cases: &[(&str, &str, Json)] = &[
        (
            "environment: {A: 1, B: x}",
            "environment: [B, C=2]",
            json!({"environment": {"A": "1", "B": null, "C": "2"}}),
        ),
        ("environment: [A=1]", "environment:", json!({"environment": {"A": "1"}})),
        ("labels: {a: 1}", "labels: {a: , b: 2}", json!({"labels": {"a": "", "b": "2"}})),
        ("command: a", "command:", json!({})),
        ("command: a", "command: []", json!({"command": []})),
        ("image: x", "image:", json!({"image": "x"})),
        (
            "healthcheck: {test: a, retries: 3}",
            "healthcheck: {test: [CMD, b]}",
            json!({"healthcheck": {"test": ["CMD", "b"], "retries": 3}}),
        ),
        (
            "volumes: [\"vv:/x\", \"ww:/y\"]",
            "volumes: [{type: tmpfs, target: /x}]",
            json!({"volumes": [{"type": "tmpfs", "target": "/x"}, {"type": "volume", "source": "ww", "target": "/y", "volume": {}}]}),
        ),
        (
            "ports: [\"80:80\"]",
            "ports: [\"80:80\", \"80\"]",
            json!({"ports": [{"mode": "ingress", "target": 80, "published": "80", "protocol": "tcp"}, {"mode": "ingress", "target": 80, "protocol": "tcp"}]}),
        ),
        (
            "devices: [\"/a:/b\"]",
            "devices: [\"/c:/b:r\"]",
            json!({"devices": [{"source": "/c", "target": "/b", "permissions": "r"}]}),
        ),
        ("dns: a", "dns: [b, a]", json!({"dns": ["a", "b"]})),
        ("tmpfs: /a", "tmpfs: [/b, /a]", json!({"tmpfs": ["/a", "/b"]})),
        ("security_opt: [a]", "security_opt: [b]", json!({"security_opt": ["a", "b"]})),
        ("expose: [80]", "expose: [\"80\", 81]", json!({"expose": ["80", "81"]})),
        (
            "extra_hosts: [a=1, b=2]",
            "extra_hosts: {a: \"3\", b: \"2\"}",
            json!({"extra_hosts": ["a=1", "a=3", "b=2"]}),
        ),
        (
            "logging: {driver: x, options: {a: 1}}",
            "logging: {driver: y, options: {b: 2}}",
            json!({"logging": {"driver": "y", "options": {"b": "2"}}}),
        ),
        (
            "logging: {driver: x, options: {a: 1}}",
            "logging: {options: {b: 2, a: }}",
            json!({"logging": {"driver": "x", "options": {"a": "1", "b": "2"}}}),
        ),
        (
            "ulimits: {a: 1, b: {soft: 1, hard: 2}}",
            "ulimits: {a: {soft: 1, hard: 2}, b: 3}",
            json!({"ulimits": {"a": {"soft": 1, "hard": 2}, "b": 3}}),
        ),
        ("build: .", "build: {args: [A=1]}", json!({"build": {"context": "/w", "args": {"A": "1"}}})),
        (
            "networks: {default: {aliases: [x]}}",
            "networks: [default]",
            json!({"networks": {"default": {"aliases": ["x"]}}}),
        ),
        (
            "networks: {default: {aliases: [x]}}",
            "networks: {default: {aliases: [y, x]}}",
            json!({"networks": {"default": {"aliases": ["x", "y"]}}}),
        ),
        (
            "depends_on: {b: {condition: service_healthy, required: false}}",
            "depends_on: {b: {condition: service_started}}",
            json!({"depends_on": {"b": {"condition": "service_started", "required": false}}}),
        ),
        (
            "depends_on: {b: {condition: service_healthy, required: false}}",
            "depends_on: [b]",
            json!({"depends_on": {"b": {"condition": "service_started", "required": true}}}),
        ),
        ("ports: [\"80:80\"]", "ports: !reset []", json!({})),
        ("dns: [a]", "dns: !override [b]", json!({"dns": ["b"]})),
        ("environment: {A: 1, B: 2}", "environment: {A: !reset x}", json!({"environment": {"B": "2"}})),
        (
            "env_file: [a, b]",
            "env_file: [{path: a, required: false}]",
            json!({"env_file": [{"path": "/w/a", "required": false}, "/w/b"]}),
        ),
        (
            "secrets: [s]",
            "secrets: [{source: s, target: /run/secrets/s}]",
            json!({"secrets": [{"source": "s", "target": "/run/secrets/s"}]}),
        ),
    ];
    for (base, over, expected) in cases {
        assert_eq!(service(&[base, over]).as_ref(), Ok(expected), "{base} + {over}");
    }
}

#[test]
fn a_repetition_over_files_is_found() {
    let found = service(&["security_opt: [a]", "security_opt: [a]"]);
    assert_eq!(found, Err("`a` is given twice".to_owned()));
}

#[test]
fn pools_of_one_subnet_are_one() {
    let base = "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.0.1}]}}}";
    let over = "networks: {n: {ipam: {config: [{subnet: 10.0.0.0/24, ip_range: 10.0.0.0/25}]}}}";
    let (root, _) = shaped(&[base, over], true);
    let pools = json!([{"subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "ip_range": "10.0.0.0/25"}]);
    assert_eq!(json(&root.unwrap())["networks"]["n"]["ipam"]["config"], pools);
}

/// A list of pools by their subnets, each with a gateway that tells which one it is.
fn pools(subnets: &[Option<&str>], name: &str) -> Node {
    let span = Span::new(0, 0, 0);
    let pool = |(index, subnet): (usize, &Option<&str>)| {
        let mut map = Map::new();
        if let Some(subnet) = subnet {
            put(&mut map, "subnet", Node::text(span, *subnet));
        }
        put(&mut map, name, Node::text(span, index.to_string()));
        Node::map(span, map)
    };
    Node { span, tag: Tag::None, value: Value::List(subnets.iter().enumerate().map(pool).collect()) }
}

/// What Docker Compose does, step by step: every pool above over every one below.
fn product(below: &Node, above: &Node) -> Vec<Node> {
    let subnet = |node: &Node| node.get("subnet").and_then(Node::text_value).map(str::to_owned);
    let mut known: Vec<Node> = Vec::new();
    for pool in below.items() {
        for other in above.items() {
            let found = known.iter().position(|known| subnet(known) == subnet(other));
            let alike = subnet(pool) == subnet(other) || found.is_some();
            let made = if alike { super::deep(pool.clone(), other.clone()) } else { other.clone() };
            match known.iter().position(|known| subnet(known) == subnet(&made)) {
                Some(at) => known[at] = made,
                None => known.push(made),
            }
        }
    }
    known
}

#[test]
fn pools_merge_as_their_product() {
    let mut lists: Vec<Vec<Option<&str>>> = vec![vec![]];
    for length in 0..4 {
        for list in lists.clone().into_iter().filter(|list| list.len() == length) {
            lists.extend([None, Some("a"), Some("b")].map(|subnet| [list.as_slice(), &[subnet]].concat()));
        }
    }
    let mut count = 0;
    for (below, above) in lists.iter().flat_map(|below| lists.iter().map(move |above| (below, above))) {
        let (base, over) = (pools(below, "gateway"), pools(above, "ip_range"));
        let expected = if above.is_empty() { base.items().to_vec() } else { product(&base, &over) };
        let shown = |nodes: &[Node]| nodes.iter().map(|node| format!("{:?}", node.value)).collect::<Vec<_>>();
        let merged = ipam_pools(base, over, &mut Report::default());
        assert_eq!(shown(merged.items()), shown(&expected), "{below:?} + {above:?}");
        count += 1;
    }
    assert_eq!(count, 121 * 121);
}
