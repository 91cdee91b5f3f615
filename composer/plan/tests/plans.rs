//! Plans as text: what is done, why, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use composer_plan::{DownOptions, Observed, ObservedContainer, ObservedState, UpOptions, down, stop, up};
use composer_stack::{
    Condition, Dependency, Mount, MountKind, Resources, Rootfs, Service, Stack, Volume, config_hash,
};

fn service(name: &str, depends_on: &[(&str, Condition)]) -> Service {
    let dependency = |condition| Dependency { condition, required: true, restart: false };
    Service {
        name: name.to_owned(),
        rootfs: Rootfs::Host,
        entrypoint: None,
        command: Some(vec!["sleep".to_owned(), "9".to_owned()]),
        environment: BTreeMap::new(),
        working_dir: None,
        user: None,
        hostname: None,
        domainname: None,
        labels: BTreeMap::new(),
        container_name: None,
        replicas: 1,
        stop_signal: 15,
        stop_grace_period: None,
        aliases: BTreeSet::new(),
        mounts: Vec::new(),
        init: false,
        tty: false,
        stdin_open: false,
        read_only: false,
        depends_on: depends_on.iter().map(|(name, c)| ((*name).to_owned(), dependency(*c))).collect(),
        healthcheck: None,
        resources: Resources::default(),
        attach: true,
        watch: Vec::new(),
    }
}

fn shop() -> Stack {
    let mut store = service("store", &[]);
    store.mounts.push(Mount {
        target: "/data".to_owned(),
        read_only: false,
        kind: MountKind::Volume { source: "data".to_owned() },
    });
    let services = [
        store,
        service("prepare", &[("store", Condition::Healthy)]),
        service("api", &[("store", Condition::Healthy), ("prepare", Condition::CompletedSuccessfully)]),
    ];
    Stack {
        name: "shop".to_owned(),
        directory: PathBuf::from("/shop"),
        files: Vec::new(),
        resources: Resources::default(),
        services: services.into_iter().map(|service| (service.name.clone(), service)).collect(),
        volumes: BTreeMap::from([(
            "data".to_owned(),
            Volume { name: "shop_data".to_owned(), external: false, labels: BTreeMap::new() },
        )]),
    }
}

fn running(stack: &Stack) -> Observed {
    let containers = stack.services.values().map(|service| {
        let found = ObservedContainer {
            service: service.name.clone(),
            index: 1,
            config_hash: config_hash(service),
            state: ObservedState::Running,
            depends_on: service.depends_on.keys().cloned().collect(),
        };
        (stack.container_name(service, 1), found)
    });
    Observed {
        group: true,
        network: true,
        volumes: BTreeSet::from(["shop_data".to_owned()]),
        containers: containers.collect(),
    }
}

#[test]
fn a_new_stack_starts_what_waits_for_nothing_first() {
    let plan = up(&shop(), &Observed::default(), &UpOptions::default()).to_string();
    let expected = "\
  1. set up the stack's cgroup: it does not exist
  2. set up the network: it does not exist
  3. create volume data: it does not exist
  4. create shop-store-1: service store has no container 1
  5. create shop-prepare-1: service prepare has no container 1
  6. create shop-api-1: service api has no container 1
  7. start shop-store-1: service store asks for it (after 1, 2, 3, 4)
  8. wait until store is healthy: service prepare depends on it (after 7)
  9. start shop-prepare-1: service prepare asks for it (after 1, 2, 5, 8)
 10. wait until prepare has completed successfully: service api depends on it (after 9)
 11. start shop-api-1: service api asks for it (after 1, 2, 6, 8, 10)
";
    let lines = |text: &str| {
        let mut lines: Vec<String> = text
            .lines()
            .map(|line| line.split_once(". ").unwrap().1.split(" (after").next().unwrap().to_owned())
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&plan), lines(expected), "{plan}");
    let place = |step: &str| plan.lines().position(|line| line.contains(step)).unwrap();
    assert!(place("start shop-store-1") < place("wait until store"));
    assert!(place("wait until store") < place("start shop-prepare-1"));
    assert!(place("wait until prepare") < place("start shop-api-1"));
    assert!(place("create volume data") < place("start shop-store-1"));
}

#[test]
fn nothing_is_started_where_everything_runs_as_asked() {
    let stack = shop();
    let plan = up(&stack, &running(&stack), &UpOptions::default()).to_string();
    assert_eq!(plan, "  1. set up the stack's cgroup: its limits are brought up to date\n");
}

#[test]
fn a_changed_service_alone_is_recreated() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-api-1").unwrap().config_hash = "old".to_owned();
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let cause = "the configuration of service api has changed";
    for step in ["stop", "remove", "create", "start"] {
        assert!(plan.contains(&format!("{step} shop-api-1: {cause}")), "{plan}");
    }
    assert!(!plan.contains("store-1") && !plan.contains("prepare-1"), "{plan}");
}

#[test]
fn a_named_service_brings_its_dependencies_alone() {
    let options = UpOptions { services: vec!["prepare".to_owned()] };
    let plan = up(&shop(), &Observed::default(), &options).to_string();
    assert!(plan.contains("start shop-store-1") && !plan.contains("api"), "{plan}");
}

#[test]
fn replicas_beyond_the_number_asked_for_go_and_orphans_are_named() {
    let stack = shop();
    let mut observed = running(&stack);
    let extra = observed.containers["shop-api-1"].clone();
    observed.containers.insert("shop-api-2".to_owned(), ObservedContainer { index: 2, ..extra.clone() });
    observed
        .containers
        .insert("shop-old-1".to_owned(), ObservedContainer { service: "old".to_owned(), ..extra });
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert!(plan.contains("remove shop-api-2: service api asks for 1 of them"), "{plan}");
    assert!(plan.contains("note: found orphan containers (shop-old-1)"), "{plan}");
}

#[test]
fn down_stops_dependents_first_and_sweeps_the_network_last() {
    let stack = shop();
    let plan = down(&running(&stack), &DownOptions { services: Vec::new(), volumes: true }).to_string();
    let place = |step: &str| plan.lines().position(|line| line.contains(step)).unwrap();
    assert!(place("stop shop-api-1") < place("stop shop-prepare-1"), "{plan}");
    assert!(place("stop shop-prepare-1") < place("stop shop-store-1"), "{plan}");
    assert!(place("remove shop-store-1") < place("remove the network"), "{plan}");
    assert!(place("remove shop-store-1") < place("remove volume shop_data"), "{plan}");
}

#[test]
fn stopping_survives_records_whose_dependencies_make_a_cycle() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-store-1").unwrap().depends_on.insert("api".to_owned());
    assert_eq!(stop(&observed, &[]).to_string().lines().count(), 3);
}
