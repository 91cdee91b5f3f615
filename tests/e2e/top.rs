//! `top` and `port`: Docker's columns.

use crate::stack::Project;

const FILE: &str = r#"
services:
  web: { x-rootfs: @busybox@, command: ["sh", "-c", "sleep 1000 & wait"], scale: 2, mem_limit: 64m }
  user: { x-rootfs: @busybox@, command: ["sleep", "77"], user: "54321" }
  busy: { x-rootfs: @busybox@, command: ["sh", "-c", "while :; do :; done"] }
  job: { x-rootfs: @busybox@, command: ["true"] }
"#;

#[test]
fn processes_are_shown_in_dockers_columns() {
    let project = Project::new("top", FILE);
    project.ok(&["up", "-d"]);
    project.ends("job");
    // Each of the two has started its second process by now, or will in a moment.
    while project.ok(&["top", "web"]).lines().count() < 5 {}
    let all = project.ok(&["top"]);
    let rows: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0],
        ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "%CPU", "%MEM", "MEM", "CMD"]
    );
    let of = |service: &str| rows.iter().filter(|row| row[0] == service).collect::<Vec<_>>();
    let web = of("web");
    let indexes: Vec<&str> = web.iter().map(|row| row[1]).collect();
    assert_eq!(indexes, ["1", "1", "2", "2"]);
    assert_eq!(web[0][2], "root");
    assert_eq!(web[0][12..], ["sh", "-c", "sleep", "1000", "&", "wait"]);
    assert_eq!((web[1][4], &web[1][12..]), (web[0][3], ["sleep", "1000"].as_slice()), "a child of the first");
    assert_eq!(of("user")[0][2], "54321");
    let pid = project.field("user", "Pid").as_i64().unwrap().to_string();
    assert_eq!(of("user")[0][3], pid, "pids are the host's");
    let shares = |rows: &[&Vec<&str>], place: usize| {
        rows.iter().map(|row| row[place].parse::<f64>().unwrap()).collect::<Vec<f64>>()
    };
    let (cpu, memory) = (shares(&of("busy"), 9), shares(&of("busy"), 10));
    assert!(cpu[0] > 50.0 && memory[0] < 100.0, "all of its container's CPU time: {all}");
    let mebibytes = |text: &str| match text.strip_suffix("MiB") {
        Some(number) => number.parse::<f64>().unwrap(),
        None => text.strip_suffix("KiB").unwrap_or("0").parse::<f64>().unwrap() / 1024.0,
    };
    for row in &web[..2] {
        let share = mebibytes(row[11]) / 64.0 * 100.0;
        assert!((row[10].parse::<f64>().unwrap() - share).abs() < 0.2, "of its limit: {all}");
    }
    assert!(of("job").is_empty());
    assert_eq!(project.ok(&["top", "user"]).lines().count(), 2);
    assert_eq!(project.ok(&["top", "job"]), "");
    let (code, message) = project.fails(&["top", "nobody"]);
    assert!(code == 1 && message.contains("no such service: nobody"), "{code} {message}");
    project.down();
}

#[test]
fn a_port_that_is_not_published_is_an_error() {
    let project = Project::new("port", FILE);
    project.ok(&["up", "-d", "web"]);
    let fails = |args: &[&str], wanted: &str| {
        let (code, message) = project.fails(&[&["port"], args].concat());
        assert!(code != 0 && message.contains(wanted), "{args:?}: {code} {message}");
    };
    fails(&["web", "80"], &format!("no port 80/tcp for container {}-web-1", project.name));
    fails(
        &["web", "80", "--protocol", "UDP", "--index", "2"],
        &format!("no port 80/udp for container {}-web-2", project.name),
    );
    fails(
        &["web", "80", "--index", "3"],
        "service \"web\" is not running container #3: its containers have the indexes 1 to 2",
    );
    fails(&["job", "80"], "service \"job\" is not running: `compose up -d job` starts it");
    project.ok(&["stop", "-t", "0", "web"]);
    fails(&["web", "80"], "service \"web\" is not running: `compose start web` starts it");
    fails(&["nobody", "80"], "no such service: nobody");
    fails(&["web", "abc"], "abc");
    project.down();
}
