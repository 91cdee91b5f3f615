//! Plans as text: what is done, why, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use composer_plan::{
    DownOptions, Lack, Observed, ObservedContainer, ObservedNetwork, ObservedState, Orphans, Recreate,
    RemoveOptions, UpOptions, down, remove, restart, run, start, stop, up,
};
use composer_stack::{
    Attachment, Condition, Dependency, Mount, MountKind, MountOptions, Network, NetworkMode, Resources,
    Rootfs, Run, Service, Stack, Volume,
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
        network: Default::default(),
        ports: Vec::new(),
        expose: Vec::new(),
        external_links: Default::default(),
        links: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_opt: Vec::new(),
        extra_hosts: Vec::new(),
        mac_address: None,
        sysctls: BTreeMap::new(),
        bandwidth: Default::default(),
        oom: Default::default(),
        mounts: Vec::new(),
        volumes_from: Vec::new(),
        secrets: Vec::new(),
        configs: Vec::new(),
        init: false,
        tty: false,
        stdin_open: false,
        read_only: false,
        depends_on: depends_on.iter().map(|(name, c)| ((*name).to_owned(), dependency(*c))).collect(),
        healthcheck: None,
        pre_start: Vec::new(),
        post_start: Vec::new(),
        pre_stop: Vec::new(),
        resources: Resources::default(),
        attach: true,
        run: Run::Always,
        restart: composer_stack::Restart::default(),
        logging: Default::default(),
        watch: Vec::new(),
        isolation: Default::default(),
    }
}

fn network(name: &str) -> Network {
    Network {
        name: name.to_owned(),
        external: false,
        by_name: false,
        driver: Default::default(),
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        ipam: Vec::new(),
        bridge: None,
        mtu: None,
        masquerade: true,
        isolated: false,
        labels: BTreeMap::new(),
        options: BTreeMap::new(),
    }
}

fn made((key, network): (&String, &Network)) -> (String, ObservedNetwork) {
    (key.clone(), ObservedNetwork { config: network.clone(), up: true })
}

fn shop() -> Stack {
    let mut store = service("store", &[]);
    store.mounts.push(Mount {
        target: "/data".to_owned(),
        read_only: false,
        kind: MountKind::Volume { source: "data".to_owned() },
        options: MountOptions::default(),
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
            Volume { name: "shop_data".to_owned(), external: false, ..Volume::default() },
        )]),
        networks: BTreeMap::from([("default".to_owned(), network("shop_default"))]),
        bandwidth: Default::default(),
        victim: None,
        contents: BTreeMap::new(),
    }
}

fn running(stack: &Stack) -> Observed {
    let containers = stack.services.values().map(|service| {
        let found = ObservedContainer {
            config: service.clone(),
            index: 1,
            state: ObservedState::Running,
            unfinished: false,
            lack: None,
        };
        (stack.container_name(service, 1), found)
    });
    Observed {
        group: true,
        resources: stack.resources.clone(),
        bandwidth: stack.bandwidth,
        networks: stack.networks.iter().map(made).collect(),
        volumes: BTreeSet::from(["shop_data".to_owned()]),
        containers: containers.collect(),
    }
}

/// The plan's lines in executable order, without their numbers and without what they wait for.
fn lines(plan: &str) -> Vec<String> {
    let step = |line: &str| {
        let line = line.split_once(". ").map_or(line, |(_, step)| step);
        line.split(" (after").next().unwrap_or(line).to_owned()
    };
    plan.lines().map(step).collect()
}

/// The steps that something happens to containers by.
fn touched(plan: &str) -> Vec<String> {
    let touches = |line: &String| {
        let others = ["set up", "wait", "nothing to do"];
        !others.iter().any(|other| line.starts_with(other))
    };
    lines(plan).into_iter().filter(touches).collect()
}

fn place(plan: &str, step: &str) -> usize {
    plan.lines().position(|line| line.contains(step)).unwrap_or_else(|| panic!("no {step} in\n{plan}"))
}

fn store_with_limit(stack: &mut Stack) {
    stack.services.get_mut("store").unwrap().resources.memory = Some(1 << 26);
}

#[test]
fn a_new_stack_starts_what_waits_for_nothing_first() {
    let plan = up(&shop(), &Observed::default(), &UpOptions::default()).to_string();
    let expected = "\
  1. set up the stack's cgroup: it does not exist
  2. set up network default: it does not exist
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
    let sorted = |text: &str| {
        let mut lines = lines(text);
        lines.sort();
        lines
    };
    assert_eq!(sorted(&plan), sorted(expected), "{plan}");
    let place = |step: &str| place(&plan, step);
    assert!(place("start shop-store-1") < place("wait until store"));
    assert!(place("wait until store") < place("start shop-prepare-1"));
    assert!(place("wait until prepare") < place("start shop-api-1"));
    assert!(place("create volume data") < place("start shop-store-1"));
}

#[test]
fn nothing_is_started_where_everything_runs_as_asked() {
    let stack = shop();
    let plan = up(&stack, &running(&stack), &UpOptions::default());
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "nothing to do\n");
    // It is done all the same: a supervisor may have died before it.
    assert_eq!(plan.len(), 2);
    let mut observed = running(&stack);
    observed.resources.cpus = Some(0.5);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert_eq!(
        plan,
        "  1. set up the stack's cgroup: its limits are brought up to date\n  \
         2. set up network default: it is brought up to date\n"
    );
    // The cap on bandwidth is one of them.
    let mut observed = running(&stack);
    observed.bandwidth.egress = Some(1_000_000);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert!(plan.contains("its limits are brought up to date"), "{plan}");
    assert_eq!(start(&running(&stack), &[]).to_string(), "nothing to do\n");
    assert_eq!(stop(&Observed::default(), &[]).to_string(), "nothing to do\n");
    assert_eq!(remove(&running(&stack), &RemoveOptions::default()).to_string(), "nothing to do\n");
}

#[test]
fn hooks_that_have_not_run_to_a_good_end_are_run_again() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-store-1").unwrap().unfinished = true;
    for plan in [up(&stack, &observed, &UpOptions::default()), start(&observed, &[])] {
        let again = "start shop-store-1: its `post_start` has not run to a good end";
        assert_eq!(touched(&plan.to_string()), [again]);
    }
}

#[test]
fn the_container_of_run_comes_after_what_its_service_depends_on() {
    let mut stack = shop();
    stack.services.get_mut("api").unwrap().replicas = 0;
    let options = UpOptions { services: vec!["api".to_owned()], ..UpOptions::default() };
    let plan = run(&stack, &Observed::default(), &options, "shop-api-run-1").to_string();
    let place = |step: &str| place(&plan, step);
    assert!(place("wait until prepare has completed") < place("start shop-api-run-1"), "{plan}");
    assert!(place("set up network default") < place("start shop-api-run-1"), "{plan}");
    assert!(place("create shop-api-run-1: `run` asks for it") < place("start shop-api-run-1"), "{plan}");
    assert!(!plan.contains("shop-api-1"), "{plan}");
}

#[test]
fn a_changed_service_alone_is_recreated() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-api-1").unwrap().config.command = None;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let cause = "the configuration of service api has changed (command)";
    let steps = ["stop", "recreate", "start"].map(|step| format!("{step} shop-api-1: {cause}"));
    assert_eq!(touched(&plan), steps, "{plan}");
}

#[test]
fn who_wants_to_be_restarted_with_a_dependency_is_and_who_does_not_is_left_alone() {
    let mut stack = shop();
    stack.services.get_mut("prepare").unwrap().depends_on.get_mut("store").unwrap().restart = true;
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-store-1").unwrap().config.command = None;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let changed = "the configuration of service store has changed (command)";
    let restarted = "service store, which it depends on with `restart: true`, is made anew or restarted";
    assert_eq!(
        touched(&plan),
        [
            format!("stop shop-prepare-1: {restarted}"),
            format!("stop shop-store-1: {changed}"),
            format!("recreate shop-store-1: {changed}"),
            format!("start shop-store-1: {changed}"),
            format!("start shop-prepare-1: {restarted}"),
        ],
        "{plan}"
    );
    assert!(place(&plan, "wait until store is healthy") < place(&plan, "start shop-prepare-1"), "{plan}");
}

#[test]
fn what_can_be_taken_over_in_place_is() {
    let stack = shop();
    let mut observed = running(&stack);
    let mut limited = stack.clone();
    store_with_limit(&mut limited);
    let plan = up(&limited, &observed, &UpOptions::default()).to_string();
    assert_eq!(touched(&plan), ["update shop-store-1: mem_limit of service store has changed"], "{plan}");
    // One that does not run takes it over before it is started.
    observed.containers.get_mut("shop-store-1").unwrap().state = ObservedState::Exited(1);
    let plan = up(&limited, &observed, &UpOptions::default()).to_string();
    assert_eq!(
        touched(&plan),
        [
            "update shop-store-1: mem_limit of service store has changed",
            "start shop-store-1: it has ended with code 1"
        ],
        "{plan}"
    );
    // Made anew for another reason, it needs no step of its own.
    limited.services.get_mut("store").unwrap().hostname = Some("db".to_owned());
    let plan = up(&limited, &running(&stack), &UpOptions::default()).to_string();
    assert!(plan.contains("recreate shop-store-1") && !plan.contains("update"), "{plan}");
}

#[test]
fn a_parent_with_less_comes_after_its_containers_and_one_with_more_before_them() {
    let mut stack = shop();
    stack.resources.cpus = Some(2.0);
    stack.services.get_mut("store").unwrap().resources.cpus = Some(1.5);
    let observed = running(&stack);
    let first = |parent, child| {
        let mut stack = stack.clone();
        stack.resources.cpus = Some(parent);
        stack.services.get_mut("store").unwrap().resources.cpus = Some(child);
        let plan = up(&stack, &observed, &UpOptions::default()).to_string();
        let limits = lines(&plan).into_iter().find(|line| !line.starts_with("set up network"));
        limits.unwrap().split(':').next().unwrap().to_owned()
    };
    assert_eq!(first(1.0, 0.5), "update shop-store-1");
    assert_eq!(first(4.0, 3.0), "set up the stack's cgroup");
}

#[test]
fn a_parent_with_more_of_one_thing_and_less_of_another_gets_room_first_and_its_limits_last() {
    let mut stack = shop();
    stack.resources = Resources { cpus: Some(2.0), memory: Some(1 << 30), ..Resources::default() };
    let observed = running(&stack);
    stack.resources = Resources { cpus: Some(4.0), memory: Some(1 << 29), ..Resources::default() };
    stack.services.get_mut("store").unwrap().resources.cpus = Some(3.0);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let lines = lines(&plan);
    let steps = lines.iter().filter(|line| !line.starts_with("set up network"));
    let steps: Vec<&str> = steps.filter_map(|line| line.split(':').next()).collect();
    assert_eq!(steps, ["give the stack's cgroup room", "update shop-store-1", "set up the stack's cgroup"]);
    // Containers that stay as they are need no room.
    stack.services.get_mut("store").unwrap().resources.cpus = None;
    assert!(!up(&stack, &observed, &UpOptions::default()).to_string().contains("room"));
}

#[test]
fn containers_are_made_anew_as_asked() {
    let stack = shop();
    let observed = running(&stack);
    let recreated = |options: UpOptions| {
        let plan = up(&stack, &observed, &options).to_string();
        let names = plan.lines().filter_map(|line| line.split_once("recreate ")?.1.split(':').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let forced = UpOptions { recreate: Recreate::Always, ..UpOptions::default() };
    assert_eq!(recreated(forced.clone()).len(), 3);
    let named = UpOptions { services: vec!["prepare".to_owned()], ..forced };
    assert_eq!(recreated(named.clone()), ["shop-prepare-1"]);
    let dependencies =
        UpOptions { recreate: Recreate::Changed, recreate_dependencies: Recreate::Always, ..named };
    assert_eq!(recreated(dependencies), ["shop-store-1"]);
    let mut changed = stack.clone();
    changed.services.get_mut("api").unwrap().tty = true;
    let never = UpOptions { recreate: Recreate::Never, ..UpOptions::default() };
    assert_eq!(touched(&up(&changed, &observed, &never).to_string()), [] as [&str; 0]);
}

#[test]
fn a_named_service_brings_its_dependencies_alone() {
    let options = UpOptions { services: vec!["prepare".to_owned()], ..UpOptions::default() };
    let plan = up(&shop(), &Observed::default(), &options).to_string();
    assert!(plan.contains("start shop-store-1") && !plan.contains("api"), "{plan}");
    let alone = UpOptions { no_deps: true, ..options };
    let plan = up(&shop(), &Observed::default(), &alone).to_string();
    assert!(plan.contains("start shop-prepare-1"), "{plan}");
    assert!(!plan.contains("store") && !plan.contains("wait"), "{plan}");
}

#[test]
fn what_is_only_created_is_neither_started_nor_waited_for() {
    let options = UpOptions { no_start: true, ..UpOptions::default() };
    let plan = up(&shop(), &Observed::default(), &options).to_string();
    assert!(plan.contains("create shop-api-1") && plan.contains("create volume data"), "{plan}");
    assert!(!plan.contains("start ") && !plan.contains("wait"), "{plan}");
}

#[test]
fn scaling_touches_only_what_it_must() {
    let mut stack = shop();
    stack.services.get_mut("api").unwrap().replicas = 3;
    let mut observed = running(&stack);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let steps = touched(&plan);
    assert_eq!(steps.iter().filter(|step| step.starts_with("create shop-api-")).count(), 2, "{plan}");
    assert_eq!(steps.len(), 4, "{plan}");
    let first = observed.containers["shop-api-1"].clone();
    for index in [2, 3] {
        let other = ObservedContainer { index, ..first.clone() };
        observed.containers.insert(format!("shop-api-{index}"), other);
    }
    assert_eq!(touched(&up(&stack, &observed, &UpOptions::default()).to_string()), [] as [&str; 0]);
    stack.services.get_mut("api").unwrap().replicas = 2;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let cause = "service api asks for 2 of them";
    assert_eq!(touched(&plan), [format!("stop shop-api-3: {cause}"), format!("remove shop-api-3: {cause}")]);
    // One that is not as it is asked for goes before others, as in Docker Compose.
    observed.containers.get_mut("shop-api-1").unwrap().config.command = None;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert_eq!(touched(&plan), [format!("stop shop-api-1: {cause}"), format!("remove shop-api-1: {cause}")]);
    stack.services.get_mut("api").unwrap().replicas = 0;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert_eq!(plan.matches("remove shop-api-").count(), 3, "{plan}");
}

#[test]
fn a_gap_in_the_numbers_is_filled() {
    let mut stack = shop();
    stack.services.get_mut("api").unwrap().replicas = 2;
    let mut observed = running(&stack);
    let second = ObservedContainer { index: 2, ..observed.containers.remove("shop-api-1").unwrap() };
    observed.containers.insert("shop-api-2".to_owned(), second);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert!(plan.contains("create shop-api-1") && !plan.contains("shop-api-2"), "{plan}");
}

#[test]
fn orphans_are_named_removed_or_passed_over() {
    let stack = shop();
    let mut observed = running(&stack);
    let mut old = observed.containers["shop-api-1"].clone();
    old.config.name = "old".to_owned();
    observed.containers.insert("shop-old-1".to_owned(), old);
    let plan = |orphans, disabled: &[&str]| {
        let disabled = disabled.iter().map(|name| (*name).to_owned()).collect();
        up(&stack, &observed, &UpOptions { orphans, disabled, ..UpOptions::default() }).to_string()
    };
    assert!(plan(Orphans::Name, &[]).contains("note: found orphan containers (shop-old-1)"));
    assert!(!plan(Orphans::Ignore, &[]).contains("shop-old-1"));
    assert!(!plan(Orphans::Remove, &["old"]).contains("shop-old-1"));
    let removed = plan(Orphans::Remove, &[]);
    let cause = "its service is not in the file, and orphans are to go";
    assert_eq!(
        touched(&removed),
        [format!("stop shop-old-1: {cause}"), format!("remove shop-old-1: {cause}")]
    );
}

#[test]
fn a_new_container_name_replaces_the_old_one_and_names_can_be_swapped() {
    let mut stack = shop();
    let observed = running(&stack);
    stack.services.get_mut("api").unwrap().container_name = Some("front".to_owned());
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert!(plan.contains("recreate shop-api-1 as front: "), "{plan}");
    assert!(place(&plan, "stop shop-api-1") < place(&plan, "recreate"), "{plan}");
    stack.services.get_mut("api").unwrap().container_name = Some("shop-store-1".to_owned());
    stack.services.get_mut("store").unwrap().container_name = Some("shop-api-1".to_owned());
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    for name in ["shop-api-1", "shop-store-1"] {
        assert!(place(&plan, &format!("stop {name}")) < place(&plan, &format!("remove {name}")), "{plan}");
        assert!(place(&plan, &format!("remove {name}")) < place(&plan, &format!("create {name}")), "{plan}");
    }
}

#[test]
fn what_runs_once_is_not_run_again_where_it_has_succeeded() {
    let mut stack = shop();
    stack.services.get_mut("prepare").unwrap().run = Run::Once;
    let mut observed = running(&stack);
    let mut plan = |state, options: &UpOptions| {
        observed.containers.get_mut("shop-prepare-1").unwrap().state = state;
        touched(&up(&stack, &observed, options).to_string())
    };
    let options = UpOptions::default();
    assert_eq!(plan(ObservedState::Exited(0), &options), [] as [&str; 0]);
    assert_eq!(plan(ObservedState::Exited(1), &options), ["start shop-prepare-1: it has ended with code 1"]);
    assert_eq!(plan(ObservedState::Created, &options), ["start shop-prepare-1: service prepare asks for it"]);
    let forced = UpOptions { recreate: Recreate::Always, ..options };
    assert!(
        plan(ObservedState::Exited(0), &forced).iter().any(|step| step.starts_with("start shop-prepare-1"))
    );
    // Without it, it is run again, as in Docker Compose.
    stack.services.get_mut("prepare").unwrap().run = Run::Always;
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    assert!(plan.contains("start shop-prepare-1: it has ended with code 0"), "{plan}");
}

#[test]
fn starting_wakes_what_sleeps_after_what_it_depends_on() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-store-1").unwrap().state = ObservedState::Exited(0);
    observed.containers.get_mut("shop-prepare-1").unwrap().state = ObservedState::Created;
    let plan = start(&observed, &["prepare".to_owned()]).to_string();
    assert_eq!(
        lines(&plan),
        [
            "start shop-store-1: it is to be started; it has ended with code 0",
            "wait until store is healthy: service prepare depends on it",
            "start shop-prepare-1: it is to be started",
        ],
        "{plan}"
    );
    assert_eq!(start(&running(&stack), &[]).to_string(), "nothing to do\n");
}

#[test]
fn a_restart_touches_the_named_and_those_that_follow_them() {
    let mut stack = shop();
    stack.services.get_mut("prepare").unwrap().depends_on.get_mut("store").unwrap().restart = true;
    let observed = running(&stack);
    let named = ["store".to_owned()];
    let plan = restart(&observed, &named, false).to_string();
    let follows = "service store, which it depends on with `restart: true`, is restarted";
    assert_eq!(
        lines(&plan),
        [
            format!("stop shop-prepare-1: {follows}"),
            "stop shop-store-1: its service is restarted".to_owned(),
            "start shop-store-1: its service is restarted".to_owned(),
            "wait until store is healthy: service prepare depends on it".to_owned(),
            format!("start shop-prepare-1: {follows}"),
        ],
        "{plan}"
    );
    let plan = restart(&observed, &named, true).to_string();
    assert_eq!(plan.lines().count(), 2, "{plan}");
}

#[test]
fn only_what_does_not_run_is_removed_unless_it_is_to_be_stopped() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-prepare-1").unwrap().state = ObservedState::Exited(0);
    let of = |services: &[&str], named: &[&str], stop: bool| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        RemoveOptions { services: owned(services), named: owned(named), stop, volumes: false }
    };
    let plan = remove(&observed, &RemoveOptions::default()).to_string();
    assert_eq!(lines(&plan), ["remove shop-prepare-1: stopped containers are removed"]);
    assert_eq!(remove(&observed, &of(&["api"], &[], false)).to_string(), "nothing to do\n");
    assert_eq!(remove(&observed, &of(&[], &["shop-api-1"], false)).to_string(), "nothing to do\n");
    assert_eq!(remove(&observed, &of(&["api"], &[], true)).to_string().lines().count(), 2);
}

#[test]
fn down_stops_dependents_first_and_sweeps_the_network_last() {
    let stack = shop();
    let plan = down(&running(&stack), &DownOptions { services: Vec::new(), volumes: true }).to_string();
    let place = |step: &str| place(&plan, step);
    assert!(place("stop shop-api-1") < place("stop shop-prepare-1"), "{plan}");
    assert!(place("stop shop-prepare-1") < place("stop shop-store-1"), "{plan}");
    assert!(place("remove shop-store-1") < place("remove the networks"), "{plan}");
    assert!(place("remove shop-store-1") < place("remove volume shop_data"), "{plan}");
}

#[test]
fn the_order_of_stops_reaches_over_what_does_not_run() {
    let mut stack = shop();
    stack.services.get_mut("api").unwrap().depends_on.remove("store");
    let mut observed = running(&stack);
    observed.containers.get_mut("shop-prepare-1").unwrap().state = ObservedState::Exited(0);
    let plan = stop(&observed, &[]).to_string();
    assert_eq!(
        plan,
        "  1. stop shop-api-1: the stack is stopped\n  2. stop shop-store-1: the stack is stopped (after 1)\n"
    );
}

#[test]
fn stopping_survives_records_whose_dependencies_make_a_cycle() {
    let stack = shop();
    let mut observed = running(&stack);
    let dependency = Dependency { condition: Condition::Started, required: true, restart: false };
    let store = &mut observed.containers.get_mut("shop-store-1").unwrap().config;
    store.depends_on.insert("api".to_owned(), dependency);
    assert_eq!(stop(&observed, &[]).to_string().lines().count(), 3);
    // Nor is a restart of them an endless wait: no step waits for itself.
    let plan = restart(&observed, &[], false);
    assert_eq!(plan.steps().len(), plan.len());
    assert_eq!(plan.to_string().matches("start shop-").count(), 3, "{plan}");
}

#[test]
fn a_network_that_has_changed_goes_once_nobody_is_on_it() {
    let mut stack = shop();
    let observed = running(&stack);
    stack.networks.get_mut("default").unwrap().mtu = Some(1400);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let place = |step: &str| place(&plan, step);
    for service in ["store", "prepare", "api"] {
        assert!(place(&format!("stop shop-{service}-1")) < place("set up network default"), "{plan}");
        assert!(place("set up network default") < place(&format!("start shop-{service}-1")), "{plan}");
        assert!(plan.contains(&format!(
            "recreate shop-{service}-1: the configuration of network default has changed"
        )));
    }
    // Who was not asked for comes back as it was.
    let options = UpOptions { services: vec!["store".to_owned()], ..UpOptions::default() };
    let plan = up(&stack, &observed, &options).to_string();
    assert!(plan.contains("start shop-api-1") && !plan.contains("recreate shop-api-1"), "{plan}");
    assert!(plan.contains("recreate shop-store-1"), "{plan}");
}

#[test]
fn a_network_that_stacks_share_is_left_once_nobody_is_on_it() {
    let on = |keys: &[&str]| {
        let networks = keys.iter().map(|key| ((*key).to_owned(), Attachment::default()));
        NetworkMode::Networks(networks.collect())
    };
    let mut before = shop();
    before.services.get_mut("api").unwrap().network = on(&["default", "hub", "own"]);
    before.services.get_mut("store").unwrap().network = on(&["default", "hub"]);
    before.networks.insert("hub".to_owned(), Network { external: true, ..network("hub") });
    before.networks.insert("own".to_owned(), network("shop_own"));
    let observed = running(&before);
    let mut after = before.clone();
    after.services.values_mut().for_each(|service| service.network = NetworkMode::default());
    after.networks.retain(|key, _| key == "default");
    let plan = up(&after, &observed, &UpOptions::default()).to_string();
    let left = "leave network hub: no service is on it any more";
    for service in ["store", "api"] {
        assert!(place(&plan, &format!("recreate shop-{service}-1")) < place(&plan, left), "{plan}");
    }
    assert!(!plan.contains("network own"), "{plan}");
    // Somebody is on it still, or may be again.
    let only = UpOptions { services: vec!["store".to_owned()], ..UpOptions::default() };
    let plan = up(&after, &observed, &only).to_string();
    assert!(plan.contains("recreate shop-store-1") && !plan.contains("leave"), "{plan}");
    after.services.remove("api");
    let plan = up(&after, &observed, &UpOptions::default()).to_string();
    assert!(!plan.contains("leave"), "{plan}");
    let orphans = UpOptions { orphans: Orphans::Remove, ..UpOptions::default() };
    let plan = up(&after, &observed, &orphans).to_string();
    assert!(place(&plan, "remove shop-api-1") < place(&plan, left), "{plan}");
    // As long as the file has it it is not left.
    let plan = up(&before, &observed, &UpOptions { recreate: Recreate::Always, ..UpOptions::default() });
    assert!(!plan.to_string().contains("leave"), "{plan}");
}

#[test]
fn what_only_people_read_of_a_network_changes_nothing() {
    let mut stack = shop();
    let observed = running(&stack);
    stack.networks.get_mut("default").unwrap().labels.insert("a".to_owned(), "b".to_owned());
    let plan = up(&stack, &observed, &UpOptions::default());
    assert!(plan.is_empty(), "{plan}");
}

#[test]
fn rules_of_a_network_that_have_changed_leave_whoever_is_on_it() {
    let stack = shop();
    let observed = running(&stack);
    let with = |option: &str, value: &str| {
        let mut stack = shop();
        let network = stack.networks.get_mut("default").unwrap();
        network.options.insert(format!("com.docker.network.{option}"), value.to_owned());
        up(&stack, &observed, &UpOptions::default()).to_string()
    };
    for (option, value) in [
        ("host_ipv4", "192.0.2.1"),
        ("host_ipv6", "2001:db8::1"),
        ("bridge.trusted_host_interfaces", "eth0"),
        ("bridge.gateway_mode_ipv4", "nat-unprotected"),
        ("bridge.enable_ip_masquerade", "false"),
    ] {
        let plan = with(option, value);
        assert!(plan.contains("set up network default: its rules have changed"), "{option}: {plan}");
        assert!(touched(&plan).is_empty(), "{option}: {plan}");
    }
    // Containers are started with what these bring about.
    for (option, value) in [
        ("bridge.gateway_mode_ipv4", "routed"),
        ("bridge.gateway_mode_ipv6", "isolated"),
        ("bridge.inhibit_ipv4", "true"),
    ] {
        let plan = with(option, value);
        assert!(plan.contains("recreate shop-store-1"), "{option}: {plan}");
    }
}

#[test]
fn links_that_are_gone_are_plugged_in_again() {
    let stack = shop();
    let mut observed = running(&stack);
    observed.networks.get_mut("default").unwrap().up = false;
    observed.containers.get_mut("shop-store-1").unwrap().lack = Some(Lack::Link);
    let plan = up(&stack, &observed, &UpOptions::default()).to_string();
    let place = |step: &str| place(&plan, step);
    assert!(place("set up network default: it does not exist") < place("plug in shop-store-1"), "{plan}");
    assert!(!plan.contains("start ") && !plan.contains("stop "), "{plan}");
}
