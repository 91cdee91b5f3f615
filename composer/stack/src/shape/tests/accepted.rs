//! What is accepted, and what becomes of it.

use serde_json::{Value as Json, json};

use super::{json, service, service_for, shaped};

#[test]
fn as_docker_compose_reads_it() {
    for (fragment, expected) in [
        (r#"deploy:"#, r#"{}"#),
        (r#"develop:"#, r#"{}"#),
        (r#"command:"#, r#"{}"#),
        (r#"command: """#, r#"{"command":[]}"#),
        (r#"command: []"#, r#"{"command":[]}"#),
        (r#"entrypoint: """#, r#"{"entrypoint":[]}"#),
        (r#"pid:"#, r#"{}"#),
        (r#"init: "yes""#, r#"{"init":true}"#),
        (r#"memswap_limit: -1"#, r#"{"memswap_limit":"-1"}"#),
        (r#"cpus: "0.1""#, r#"{"cpus":0.1}"#),
        (r#"cpus: 0.1"#, r#"{"cpus":0.1}"#),
        (r#"cpu_percent: "50""#, r#"{"cpu_percent":50}"#),
        (r#"oom_score_adj: 1.0"#, r#"{"oom_score_adj":1}"#),
        (
            r#"volumes: [{type: tmpfs, target: /a, tmpfs: {size: 64m, mode: 0755}}]"#,
            r#"{"volumes":[{"target":"/a","tmpfs":{"mode":493,"size":"67108864"},"type":"tmpfs"}]}"#,
        ),
        (
            r#"volumes: [{type: tmpfs, target: /a, tmpfs: {}}]"#,
            r#"{"volumes":[{"target":"/a","tmpfs":{},"type":"tmpfs"}]}"#,
        ),
        (r#"volumes: [{type: tmpfs, target: /a}]"#, r#"{"volumes":[{"target":"/a","type":"tmpfs"}]}"#),
        (
            r#"volumes: [{type: bind, source: ./x, target: /a}]"#,
            r#"{"volumes":[{"source":"/w/x","target":"/a","type":"bind"}]}"#,
        ),
        (
            r#"volumes: [{type: bind, source: ./x, target: /a, bind: {}}]"#,
            r#"{"volumes":[{"bind":{},"source":"/w/x","target":"/a","type":"bind"}]}"#,
        ),
        (
            r#"volumes: [{type: bind, source: ./x, target: /a, bind: {create_host_path: false}}]"#,
            r#"{"volumes":[{"bind":{},"source":"/w/x","target":"/a","type":"bind"}]}"#,
        ),
        (r#"volumes: [/data]"#, r#"{"volumes":[{"target":"/data","type":"volume","volume":{}}]}"#),
        (r#"volumes: ["/d"]"#, r#"{"volumes":[{"target":"/d","type":"volume"}]}"#),
        (
            r#"volumes: ["./a:/b:ro,z,rshared,nocopy,foo"]"#,
            r#"{"volumes":[{"bind":{"create_host_path":true,"propagation":"rshared","selinux":"z"},"read_only":true,"source":"/w/a","target":"/b","type":"bind","volume":{"nocopy":true}}]}"#,
        ),
        (
            r#"volumes: ["~/a:/b/../c/"]"#,
            r#"{"volumes":[{"bind":{"create_host_path":true},"source":"/home/u/a","target":"/c","type":"bind"}]}"#,
        ),
        (
            r#"volumes: ['C:\x:/c']"#,
            r#"{"volumes":[{"bind":{"create_host_path":true},"source":"C:\\x","target":"/c","type":"bind"}]}"#,
        ),
        (
            r#"volumes: ["a:b:c:d"]"#,
            r#"{"volumes":[{"bind":{"create_host_path":true},"source":"/w/a:b","target":"c:d","type":"bind"}]}"#,
        ),
        (r#"volumes: [":b"]"#, r#"{"volumes":[{"target":":b","type":"volume"}]}"#),
        (
            r#"blkio_config: {weight: 300, weight_device: [{path: /dev/sda, weight: 400}], device_read_bps: [{path: /a, rate: 12mb}], device_write_iops: [{path: /a, rate: 30}]}"#,
            r#"{"blkio_config":{"device_read_bps":[{"Path":"/a","Rate":"12582912"}],"device_write_iops":[{"Path":"/a","Rate":"30"}],"weight":300,"weight_device":[{"Path":"/dev/sda","Weight":400}]}}"#,
        ),
        (
            r#"ulimits: {nofile: 0, nproc: "5", core: {soft: 1, hard: "2"}, a: {soft: 0, hard: 0}}"#,
            r#"{"ulimits":{"a":{},"core":{"hard":2,"soft":1},"nofile":{},"nproc":5}}"#,
        ),
        (r#"group_add: [1, a]"#, r#"{"group_add":["1","a"]}"#),
        (r#"expose: [80, "81/udp", 80]"#, r#"{"expose":["80","81/udp"]}"#),
        (r#"cap_add: [a, a]"#, r#"{"cap_add":["a"]}"#),
        (r#"dns: 1.1.1.1"#, r#"{"dns":["1.1.1.1"]}"#),
        (r#"dns: """#, r#"{}"#),
        (r#"dns: []"#, r#"{}"#),
        (r#"dns_search: """#, r#"{"dns_search":[""]}"#),
        (r#"tmpfs: [/a, "/a:size=1"]"#, r#"{"tmpfs":["/a","/a:size=1"]}"#),
        (
            r#"extra_hosts: ["b:1.1.1.1", "a=[::1]", "a=1,2"]"#,
            r#"{"extra_hosts":["a=1","a=2","a=::1","b=1.1.1.1"]}"#,
        ),
        (
            r#"extra_hosts: {a: [1.1.1.1, 2.2.2.2], b: "::1", c: "1,2"}"#,
            r#"{"extra_hosts":["a=1.1.1.1","a=2.2.2.2","b=::1","c=1,2"]}"#,
        ),
        (
            r#"labels: {a: , b: 1.0, c: 1e3, d: true, e: 0x10, f: 0o17, g: 017, h: ~, i: 1_000, j: .5, k: 1.50, l: 12345678901234567890, m: 1e21}"#,
            r#"{"labels":{"a":"","b":"1","c":"1000","d":"true","e":"16","f":"15","g":"15","h":"","i":"1000","j":"0.5","k":"1.5","l":"12345678901234567890","m":"1e+21"}}"#,
        ),
        (r#"labels: [a, b=, "c =1"]"#, r#"{"labels":{"a":"","b":"","c ":"1"}}"#),
        (r#"annotations: [a, b=]"#, r#"{"annotations":{"a":"","b":""}}"#),
        (r#"sysctls: {a: 1, b: }"#, r#"{"sysctls":{"a":"1","b":""}}"#),
        (
            r#"logging: {driver: x, options: {a: 1, b: , c: 1.5}}"#,
            r#"{"logging":{"driver":"x","options":{"a":"1","b":"","c":"1.5"}}}"#,
        ),
        (r#"logging: {}"#, r#"{"logging":{}}"#),
        (r#"healthcheck: {}"#, r#"{"healthcheck":{}}"#),
        (
            r#"healthcheck: {test: [], retries: "3", interval: 1d2w, disable: "no"}"#,
            r#"{"healthcheck":{"interval":"360h0m0s","retries":3}}"#,
        ),
        (r#"stop_grace_period: 1w2d"#, r#"{"stop_grace_period":"216h0m0s"}"#),
        (r#"devices: [{source: /x, target: /y}]"#, r#"{"devices":[{"source":"/x","target":"/y"}]}"#),
        (r#"gpus: all"#, r#"{"gpus":[{"count":-1}]}"#),
        (r#"gpus: [{driver: a, count: 2, foo: bar}]"#, r#"{"gpus":[{"count":2,"driver":"a"}]}"#),
        (r#"gpus: [{driver: a}]"#, r#"{"gpus":[{"driver":"a"}]}"#),
        (
            r#"gpus: [{count: ALL, capabilities: [gpu], options: [a=b]}]"#,
            r#"{"gpus":[{"capabilities":["gpu"],"count":-1,"options":{"a":"b"}}]}"#,
        ),
        (
            r#"deploy: {resources: {reservations: {devices: [{capabilities: [gpu], count: "3"}], generic_resources: [{discrete_resource_spec: {kind: g, value: "2"}}]}, limits: {cpus: 0.5, memory: 1g, pids: "5"}}}"#,
            r#"{"deploy":{"placement":{},"resources":{"limits":{"cpus":0.5,"memory":"1073741824","pids":5},"reservations":{"devices":[{"capabilities":["gpu"],"count":3}],"generic_resources":[{"discrete_resource_spec":{"kind":"g","value":2}}]}}}}"#,
        ),
        (
            r#"deploy: {resources: {limits: {}}, update_config: {parallelism: "2", max_failure_ratio: "0.1", delay: 0s, monitor: 60s}, restart_policy: {delay: 0s, max_attempts: 0}}"#,
            r#"{"deploy":{"placement":{},"resources":{"limits":{}},"restart_policy":{"delay":"0s","max_attempts":0},"update_config":{"max_failure_ratio":0.1,"monitor":"1m0s","parallelism":2}}}"#,
        ),
        (
            r#"deploy: {replicas: "2", mode: x, endpoint_mode: y, placement: {max_replicas_per_node: 1, preferences: [{spread: a}], constraints: [a]}}"#,
            r#"{"deploy":{"endpoint_mode":"y","mode":"x","placement":{"constraints":["a"],"max_replicas_per_node":1,"preferences":[{"spread":"a"}]},"replicas":2,"resources":{}}}"#,
        ),
        (r#"pull_policy: every_2d"#, r#"{"pull_policy":"every_2d"}"#),
        (r#"credential_spec: {}"#, r#"{"credential_spec":{}}"#),
        (
            r#"provider: {type: a, options: {x: 1, y: [1, a, true], z: false}}"#,
            r#"{"provider":{"options":{"x":["1"],"y":["1","a","true"],"z":["false"]},"type":"a"}}"#,
        ),
        (
            r#"develop: {watch: [{path: ./x, action: sync, target: /x, ignore: a}]}"#,
            r#"{"develop":{"watch":[{"action":"sync","exec":{"command":null},"ignore":["a"],"path":"/w/x","target":"/x"}]}}"#,
        ),
        (
            r#"develop: {watch: [{path: ./x, action: sync}]}"#,
            r#"{"develop":{"watch":[{"action":"sync","exec":{"command":null},"path":"/w/x"}]}}"#,
        ),
        (
            r#"post_start: [{command: echo "a b", environment: [a=b]}, {command: [a]}, {command: }]"#,
            r#"{"post_start":[{"command":["echo","a b"],"environment":{"a":"b"}},{"command":["a"]},{"command":null}]}"#,
        ),
        (r#"pre_stop: []"#, r#"{}"#),
        (r#"storage_opt: {size: 1, b: x}"#, r#"{"storage_opt":{"b":"x","size":"1"}}"#),
        (r#"env_file: nope"#, r#"{"env_file":["/w/nope"]}"#),
        (r#"label_file: nope"#, r#"{"label_file":["/w/nope"]}"#),
        (r#"scale: "3""#, r#"{"scale":3}"#),
        (r#"scale: 1.0"#, r#"{"scale":1}"#),
        (r#"tty: "on""#, r#"{"tty":true}"#),
        (r#"stdin_open: yes"#, r#"{"stdin_open":true}"#),
        (r#"x-foo: {b: 1, a: 2.0}"#, r#"{}"#),
        (
            r#"networks: {default: {priority: 5, aliases: [a, a], driver_opts: {a: 1, b: 1.5}, x-a: 1}}"#,
            r#"{"networks":{"default":{"aliases":["a"],"driver_opts":{"a":"1","b":"1.5"},"priority":5}}}"#,
        ),
        (r#"networks: {default: {}}"#, r#"{"networks":{"default":{}}}"#),
        (r#"depends_on: []"#, r#"{}"#),
        (r#"depends_on: {}"#, r#"{}"#),
        (r#"links: [a, a]"#, r#"{"links":["a"]}"#),
        (r#"attach: false"#, r#"{"attach":false}"#),
        (r#"privileged: false"#, r#"{}"#),
        (r#"mem_swappiness: 60"#, r#"{"mem_swappiness":"60"}"#),
        (r#"shm_size: 64m"#, r#"{"shm_size":"67108864"}"#),
        (r#"x-foo:"#, r#"{}"#),
        (r#"ports: [80]"#, r#"{"ports":[{"mode":"ingress","protocol":"tcp","target":80}]}"#),
        (
            r#"ports: ["80:80", "80:80", 80]"#,
            r#"{"ports":[{"mode":"ingress","protocol":"tcp","published":"80","target":80},{"mode":"ingress","protocol":"tcp","target":80}]}"#,
        ),
        (
            r#"ports: ["3000-3002", "9090-9091:8080-8081", "49100:22", "127.0.0.1:5000-5001:5000-5001", "6060:6060/udp", "127.0.0.1::53/tcp", "[::1]:80:80", "12400-12500:1240"]"#,
            r#"{"ports":[{"mode":"ingress","protocol":"tcp","target":3000},{"mode":"ingress","protocol":"tcp","target":3001},{"mode":"ingress","protocol":"tcp","target":3002},{"mode":"ingress","protocol":"tcp","published":"9090","target":8080},{"mode":"ingress","protocol":"tcp","published":"9091","target":8081},{"mode":"ingress","protocol":"tcp","published":"49100","target":22},{"host_ip":"127.0.0.1","mode":"ingress","protocol":"tcp","published":"5000","target":5000},{"host_ip":"127.0.0.1","mode":"ingress","protocol":"tcp","published":"5001","target":5001},{"mode":"ingress","protocol":"udp","published":"6060","target":6060},{"host_ip":"127.0.0.1","mode":"ingress","protocol":"tcp","target":53},{"host_ip":"::1","mode":"ingress","protocol":"tcp","published":"80","target":80},{"mode":"ingress","protocol":"tcp","published":"12400-12500","target":1240}]}"#,
        ),
        (r#"ports: [{target: "80", published: 8080}]"#, r#"{"ports":[{"published":"8080","target":80}]}"#),
        (
            r#"ports: [{target: 80, published: "8080-8090", mode: host, name: x, app_protocol: http, host_ip: 1.2.3.4}]"#,
            r#"{"ports":[{"app_protocol":"http","host_ip":"1.2.3.4","mode":"host","name":"x","published":"8080-8090","target":80}]}"#,
        ),
        (r#"ports: ["80/SCTP"]"#, r#"{"ports":[{"mode":"ingress","protocol":"sctp","target":80}]}"#),
        (r#"command: 'echo "a b" c\ d | e'"#, r#"{"command":["echo","a b","c d"]}"#),
        (
            r#"env_file: [a, {path: b, required: false}]"#,
            r#"{"env_file":["/w/a",{"path":"/w/b","required":false}]}"#,
        ),
        (r#"extends: b"#, r#"{}"#),
        (r#"healthcheck: {test: [CMD, a]}"#, r#"{"healthcheck":{"test":["CMD","a"]}}"#),
        (
            r#"volumes: [{type: volume, source: v, target: /a, volume: {nocopy: "true", subpath: x, labels: [a]}}]"#,
            r#"{"volumes":[{"source":"v","target":"/a","type":"volume","volume":{"labels":{"a":""},"nocopy":true,"subpath":"x"}}]}"#,
        ),
        (r#"networks: [n, default]"#, r#"{"networks":{"default":null,"n":null}}"#),
        (r#"networks: {n: {priority: 5}, default: }"#, r#"{"networks":{"default":null,"n":{"priority":5}}}"#),
        (r#"depends_on: [b]"#, r#"{"depends_on":{"b":{"condition":"service_started","required":true}}}"#),
        (
            r#"depends_on: {b: {condition: service_healthy}}"#,
            r#"{"depends_on":{"b":{"condition":"service_healthy","required":true}}}"#,
        ),
        (
            r#"secrets: [s, {source: s, target: t, mode: 0440}]"#,
            r#"{"secrets":[{"source":"s"},{"mode":"0440","source":"s","target":"t"}]}"#,
        ),
        (r#"configs: [{source: s, mode: "0440"}]"#, r#"{"configs":[{"mode":"0440","source":"s"}]}"#),
        (r#"build: ."#, r#"{"build":{"context":"/w"}}"#),
        (
            r#"build: {context: https://x/y.git, args: [A, B=1], additional_contexts: [a=./b, c=docker-image://d, e=service:f, g=~/x], ssh: [default], provenance: true, tags: [t, t]}"#,
            r#"{"build":{"additional_contexts":{"a":"/w/b","c":"docker-image://d","e":"service:f","g":"/home/u/x"},"args":{"A":null,"B":"1"},"context":"https://x/y.git","provenance":"true","ssh":["default"],"tags":["t"]}}"#,
        ),
        (r#"models: [m]"#, r#"{"models":{"m":null}}"#),
        (r#"mem_limit: 1.5gib"#, r#"{"mem_limit":"1610612736"}"#),
        (r#"label_file: [x]"#, r#"{"label_file":["/w/x"]}"#),
    ] {
        let expected: Json = serde_json::from_str(expected).unwrap();
        assert_eq!(service_for(&[fragment], true), Ok(expected), "{fragment}");
    }
}

#[test]
fn what_docker_compose_shows_is_not_run() {
    for (fragment, shown, why) in [
        ("hostname: a b", json!({"hostname": "a b"}), "`a b` is not a host name"),
        ("container_name: it's", json!({"container_name": "it's"}), "`it's` is not a container name"),
        ("cpuset: foo", json!({"cpuset": "foo"}), "`foo` is not a list of CPUs"),
        ("restart: ALWAYS", json!({"restart": "ALWAYS"}), "`ALWAYS` is not a restart policy"),
        ("cpu_quota: 1.5", json!({"cpu_quota": 1}), "`cpu_quota` must be a whole number"),
        ("pids_limit: -2", json!({"pids_limit": -2}), "`pids_limit` must be -1 to 4194304"),
        ("cpus: -1", json!({"cpus": -1}), "`cpus` must be a number of at least 0"),
        ("mem_limit: -1", json!({"mem_limit": "-1"}), "`-1` is not an amount of memory"),
        ("mem_limit: 1e9", json!({}), "`1e9` is not a whole number of bytes"),
        ("stop_grace_period: -5s", json!({"stop_grace_period": "-5s"}), "`-5s` is a negative duration"),
        ("healthcheck: {test: [CMD]}", json!({"healthcheck": {"test": ["CMD"]}}), "`CMD` needs a program"),
        (
            "ports: [{target: 65536, published: abc}]",
            json!({"ports": [{"target": 65536, "published": "abc"}]}),
            "`target` must be 1 to 65535; `abc` is neither a port nor a range of ports",
        ),
        ("environment: ['']", json!({"environment": {"": null}}), "a key of `environment` is empty"),
        (
            "volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 1.5}}]",
            json!({"volumes": [{"type": "tmpfs", "target": "/a", "tmpfs": {"mode": 1}}]}),
            "`mode` must be permission bits",
        ),
        ("gpus: [{driver: a, b: c}]", json!({"gpus": [{"driver": "a"}]}), "unknown key `b`"),
    ] {
        assert_eq!(service_for(&[fragment], true), Ok(shown), "{fragment}");
        assert_eq!(service(&[fragment]), Err(why.to_owned()), "{fragment}");
    }
}

#[test]
fn values_are_merged_as_they_are_written() {
    let provider = |options: &str| format!("provider: {{type: a, options: {{b: {options}}}}}");
    for (base, over, merged) in [
        ("c", "d", Ok(json!(["d"]))),
        ("c", "[d, 1]", Ok(json!(["d", "1"]))),
        ("[c]", "[d]", Ok(json!(["c", "d"]))),
        ("[c]", "d", Err("this is one value, and a list in what it is merged with".to_owned())),
        ("c", "!override null", Ok(json!(["null"]))),
    ] {
        let found = service(&[&provider(base), &provider(over)]);
        let found = found.map(|service| service["provider"]["options"]["b"].clone());
        assert_eq!(found, merged, "{base} {over}");
    }
}

#[test]
fn more_than_docker_compose_reads() {
    for (fragment, expected) in [
        // Keys of specifications newer than it.
        (
            "pre_start: [{command: a, per_replica: true}]",
            json!({"pre_start": [{"command": ["a"], "per_replica": true}]}),
        ),
        ("build: {no_cache_filter: a}", json!({"build": {"no_cache_filter": ["a"]}})),
        // Our own.
        ("x-rootfs: ./root", json!({"x-rootfs": "/w/root"})),
        ("x-rootfs: host", json!({"x-rootfs": "host"})),
        ("x-oom: pause", json!({"x-oom": {"policy": "pause"}})),
        (
            "x-oom: {policy: raise, step: 32M, max: 256M}",
            json!({"x-oom": {"policy": "raise", "step": "33554432", "max": "268435456"}}),
        ),
        (
            "x-probe: {http: {port: 8000, path: /health}}",
            json!({"x-probe": {"http": {"port": 8000, "path": "/health"}}}),
        ),
    ] {
        assert_eq!(service(&[fragment]), Ok(expected), "{fragment}");
    }
}

#[test]
fn resources_at_the_top_level() {
    for (text, key, expected) in [
        (
            "networks: {n: {driver_opts: {a: 1}, external: {name: foo}, ipam: {options: {a: b}}}}",
            "networks",
            json!({"n": {"name": "foo", "driver_opts": {"a": "1"}, "external": true, "ipam": {}}}),
        ),
        ("networks: {n: }", "networks", json!({"n": null})),
        (
            "volumes: {v: {driver: local, driver_opts: {o: bind, device: ./x}}}",
            "volumes",
            json!({"v": {"driver": "local", "driver_opts": {"o": "bind", "device": "/w/x"}}}),
        ),
        (
            "volumes: {v: {driver_opts: {o: bind, device: ./x}}}",
            "volumes",
            json!({"v": {"driver_opts": {"o": "bind", "device": "./x"}}}),
        ),
        (
            "secrets: {s: {file: ./x, labels: [a]}}",
            "secrets",
            json!({"s": {"file": "/w/x", "labels": {"a": ""}}}),
        ),
        ("configs: {c: {content: a}}", "configs", json!({"c": {"content": "a"}})),
        ("x-foo: {b: [1, ~], a: 1.5}", "x-foo", json!({"a": 1.5, "b": [1, null]})),
        (
            "x-resources: {limits: {memory: 1g, cpuset: 0-1}}",
            "x-resources",
            json!({"limits": {"memory": "1073741824", "cpuset": "0-1"}}),
        ),
    ] {
        let (root, report) = shaped(&[text], true);
        assert!(!report.has_errors(), "{text}: {:?}", report.found);
        assert_eq!(json(&root.unwrap())[key], expected, "{text}");
    }
}
