//! What is refused, and how it is said.

use super::{messages, service, shaped};
use crate::diagnostic::Severity;

#[test]
fn each_mistake_has_its_own_message() {
    for (fragment, message) in [
        (r#"container_name: 5"#, r#"`container_name` must be a string, not a number"#),
        (r#"container_name:"#, r#"`container_name` has no value"#),
        (r#"container_name: "?""#, r#"`?` is not a container name"#),
        (r#"ports:"#, r#"`ports` has no value"#),
        (r#"environment:"#, r#"`environment` has no value"#),
        (r#"volumes:"#, r#"`volumes` has no value"#),
        (r#"init: "1""#, r#"`init` must be true or false"#),
        (r#"init: 1"#, r#"`init` must be true or false"#),
        (r#"mem_limit: "-1""#, r#"`-1` is not an amount of memory"#),
        (r#"memswap_limit: "-1""#, r#"`-1` is not an amount of memory"#),
        (r#"cpus: -1"#, r#"`cpus` must be a number of at least 0"#),
        (r#"cpu_shares: 1.5"#, r#"`cpu_shares` must be a whole number"#),
        (r#"cpu_shares: "1.5""#, r#"`cpu_shares` must be a whole number"#),
        (r#"cpu_percent: 12.5"#, r#"`cpu_percent` must be a whole number"#),
        (r#"cpu_percent: "12.5""#, r#"`cpu_percent` must be a whole number"#),
        (r#"oom_score_adj: "2000""#, r#"`oom_score_adj` must be -1000 to 1000"#),
        (r#"volumes: [{type: bind, target: /a}]"#, r#"a bind mount needs a `source`"#),
        (r#"volumes: [{type: bind, source: x}]"#, r#"a mount needs a `target`"#),
        (r#"volumes: [5]"#, r#"an item of `volumes` must be a string or a mapping, not a number"#),
        (r#"blkio_config: {x-a: 1}"#, r#"unknown key `x-a`"#),
        (r#"ulimits: {nofile: {soft: 1}}"#, r#"`ulimits.nofile` needs a `hard`"#),
        (
            r#"group_add: [1, a, 1.5]"#,
            r#"an item of `group_add` must be a string or a whole number, not a number"#,
        ),
        (r#"expose: [80.5]"#, r#"an item of `expose` must be a string or a whole number, not a number"#),
        (r#"security_opt: [a, a]"#, r#"`a` is given twice"#),
        (r#"extra_hosts: {a: }"#, r#"`a` has no value"#),
        (r#"extra_hosts: [a]"#, r#"`a` has no address"#),
        (r#"environment: [a, b=, "c =1"]"#, r#"the variable `c ` ends with a space"#),
        (r#"environment: [5]"#, r#"an item of `environment` must be a string, not a number"#),
        (r#"logging: {driver: x, options: {a: true}}"#, r#"`a` must be a string or a number, not a boolean"#),
        (r#"healthcheck: {test: [foo]}"#, r#"a `test` list must begin with `CMD`, `CMD-SHELL` or `NONE`"#),
        (
            r#"healthcheck: {test: foo bar, interval: -5s, timeout: 90s, start_period: 0s}"#,
            r#"`-5s` is a negative duration"#,
        ),
        (r#"healthcheck: {interval: 5}"#, r#"`5` is not a duration"#),
        (r#"healthcheck: {interval: "5"}"#, r#"`5` is not a duration"#),
        (r#"devices: [/dev/a, "/dev/a:/dev/b", "/a:/b:r", {source: /x}]"#, r#"a device needs a `target`"#),
        (r#"devices: ["a:b:c:d"]"#, r#"`a:b:c:d` has too many `:`"#),
        (r#"gpus: 1"#, r#"`gpus` must be `all` or a list, not a number"#),
        (
            r#"deploy: {resources: {reservations: {devices: [{count: 1}]}}}"#,
            r#"a device reservation needs `capabilities`"#,
        ),
        (r#"deploy: {resources: {limits: {memory: 1}}}"#, r#"`memory` must be a string, not a number"#),
        (r#"deploy: {update_config: {order: x}}"#, r#"`x` is not a value of `order`"#),
        (r#"pull_policy: foo"#, r#"`foo` is not a pull policy"#),
        (r#"cgroup: foo"#, r#"`foo` is not a value of `cgroup`"#),
        (r#"restart: foo"#, r#"`foo` is not a restart policy"#),
        (r#"provider: {}"#, r#"`provider` needs a `type`"#),
        (r#"develop: {watch: [{path: x}]}"#, r#"an entry of `watch` needs an `action`"#),
        (r#"post_start: [{command: echo "a b", user: 5}]"#, r#"`user` must be a string, not a number"#),
        (r#"post_start: [{user: "5"}]"#, r#"a hook needs a `command`"#),
        (r#"storage_opt: {size: true}"#, r#"`size` must be a string or a whole number, not a boolean"#),
        (r#"mac_address: 5"#, r#"`mac_address` must be a string, not a number"#),
        (r#"hostname: -x-"#, r#"`-x-` is not a host name"#),
        (r#"user: 5"#, r#"`user` must be a string, not a number"#),
        (r#"working_dir: rel"#, r#"`working_dir` must be an absolute path, not `rel`"#),
        (r#"scale: 1.5"#, r#"`scale` must be a whole number"#),
        (r#"scale: -1"#, r#"`scale` must be at least 0"#),
        (r#"use_api_socket: "true""#, r#"`use_api_socket` must be true or false"#),
        (r#"networks: {default: {priority: "5"}}"#, r#"`priority` must be a whole number"#),
        (r#"networks: [default, default]"#, r#"`default` is given twice"#),
        (r#"volumes_from: [a, a]"#, r#"`a` is given twice"#),
        (r#"profiles: a"#, r#"`profiles` must be a list, not a string"#),
        (r#"cpuset: 1"#, r#"`cpuset` must be a string, not a number"#),
        (r#"cpuset: "x""#, r#"`x` is not a list of CPUs"#),
        (r#"stop_signal: FOO"#, r#"`FOO` is not a signal"#),
        (r#"stop_signal: 9"#, r#"`stop_signal` must be a string, not a number"#),
        (r#"image:"#, r#"`image` has no value"#),
        (r#"build:"#, r#"`build` has no value"#),
        (r#"healthcheck:"#, r#"`healthcheck` has no value"#),
        (r#"labels:"#, r#"`labels` has no value"#),
        (r#"foo: 1"#, r#"unknown key `foo`"#),
        (
            r#"ports: [80.5]"#,
            r#"an item of `ports` must be a string, a whole number or a mapping, not a number"#,
        ),
        (r#"ports: [{published: 80}]"#, r#"a port needs a `target`"#),
        (r#"ports: [{target: 80, host_ip: foo}]"#, r#"`foo` is not an IP address"#),
        (r#"ports: [{target: 99999}]"#, r#"`target` must be 1 to 65535"#),
        (
            r#"ports: ["99999:80"]"#,
            r#"`99999:80` is not a port: `99999` is neither a port nor a range of ports (1 to 65535)"#,
        ),
        (
            r#"ports: ["a:80"]"#,
            r#"`a:80` is not a port: `a` is neither a port nor a range of ports (1 to 65535)"#,
        ),
        (
            r#"ports: ["80/foo"]"#,
            r#"`80/foo` is not a port: `foo` is not a protocol (`tcp`, `udp` and `sctp` are)"#,
        ),
        (
            r#"ports: ["[::1:80:80", "::1:80:80"]"#,
            r#"`[::1:80:80` is not a port: `[::1` is not an IP address"#,
        ),
        (r#"ports: [""]"#, r#"`` is not a port: the port of the container is missing"#),
        (r#"ports: ["1-2:1-3"]"#, r#"`1-2:1-3` is not a port: 2 ports of the host for 3 of the container"#),
        (
            r#"ports: [true]"#,
            r#"an item of `ports` must be a string, a whole number or a mapping, not a boolean"#,
        ),
    ] {
        assert_eq!(service(&[fragment]), Err(message.to_owned()), "{fragment}");
    }
}

#[test]
fn mistakes_at_the_top_level() {
    for (text, message) in [
        ("service: {}", "unknown key `service`"),
        ("version: 3", "`version` must be a string, not a number"),
        ("services: {\"a b\": {}}", "`a b` is not a service name"),
        ("services: {a: }", "`a` has no value"),
        ("volumes:", "`volumes` has no value"),
        ("networks: {n: {external: {name: a}, name: b}}", "`external.name` differs from `name`"),
        ("networks: {n: {external: {foo: a}}}", "unknown key `foo`"),
        ("secrets: {s: {content: a}}", "unknown key `content`"),
        ("models: {m: {name: a}}", "`models.m` needs a `model`"),
        ("models: {m: {model: a, context_size: \"5\"}}", "`context_size` must be a whole number"),
        ("include: [{path: [a, a]}]", "`/w/a` is given twice"),
        ("x-resources: {limits: {memory: x}}", "`x` is not an amount of memory"),
    ] {
        let (_, report) = shaped(&[text], true);
        assert_eq!(messages(&report, Severity::Error), [message], "{text}");
    }
}

#[test]
fn warnings() {
    for (fragment, message) in [
        ("command: a | b", "`command` ends at `|`: there is no shell to understand it"),
        ("volumes: [\"./a:/b:r0\"]", "`r0` is not a mount option, and does nothing"),
    ] {
        let (_, report) = shaped(&[&format!("services: {{a: {{{fragment}}}}}")], true);
        assert_eq!(messages(&report, Severity::Warning), [message], "{fragment}");
    }
}

/// Each of these few words would be tens of thousands of mappings.
#[test]
fn ranges_of_ports_have_an_end() {
    let text = "services: {a: {ports: [1-65535, 1-65535/udp, 1-65535/sctp]}, b: {ports: [1-65535, 80]}}";
    let (_, report) = shaped(&[text], true);
    assert_eq!(messages(&report, Severity::Error), ["the ports of all services add up to too many"]);
}
