//! Go templates of `--format`. Those of `ps`, `stats` and `volumes` stand beside Docker Compose's answers in [`crate::peers`].

use serde_json::json;

use crate::layout::Layout;
use crate::stack::{Project, text};

const FILE: &str = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sleep", "1000"]
    labels: { com.example.tier: front }
    ports: ["127.0.0.1::80", "127.0.0.1::53/udp"]
    volumes: ["data:/data", "/etc:/host:ro"]
    networks: [front]
networks: { front: { labels: { team: blue } } }
volumes: { data: { labels: { team: green } } }
"#;

/// Standard output, exit status, and standard error of a command.
fn answer(project: &Project, args: &[&str]) -> (String, i32, String) {
    let output = project.run(args);
    (text(&output.stdout), output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn networks_and_volumes_are_told_by_templates_of_dockers_fields() {
    let project = Project::new("format", FILE);
    project.ok(&["up", "-d"]);
    let (network, volume) = (format!("{}_front", project.name), format!("{}_data", project.name));
    let (only_network, only_volume) = (format!("name={network}"), format!("name={volume}"));
    let networks = |format: &str| project.ok(&["network", "ls", "-f", &only_network, "--format", format]);
    assert_eq!(
        networks(
            r#"{{.Name}} {{.Driver}} {{.Scope}} {{.IPv4}} {{.IPv6}} {{.Internal}} {{.Label "team"}}{{if not .CreatedAt}}-{{end}}"#
        ),
        format!("{network} bridge local true false false blue\n")
    );
    let shown = networks(r#"table {{.Driver}}\t{{.Label "team"}}\t{{len .ID}}"#);
    assert_eq!(shown, "DRIVER    team      10\nbridge    blue      12\n");
    // Docker's `-q` is for the table alone.
    assert_eq!(
        project.ok(&["network", "ls", "-q", "-f", &only_network, "--format", "{{.Scope}}"]),
        "local\n"
    );
    let long = project.ok(&["network", "ls", "--no-trunc", "-f", &only_network, "--format", "{{len .ID}}"]);
    assert_eq!(long, "64\n");

    let inspected = |format: &str| project.ok(&["network", "inspect", "-f", format, &network]);
    let [subnet, gateway] = ["Subnet", "Gateway"].map(|field| {
        let shown = inspected(&format!("{{{{(index .IPAM.Config 0).{field}}}}}"));
        shown.trim_end().to_owned()
    });
    assert!(subnet.contains('/') && !gateway.is_empty(), "{subnet} {gateway}");
    assert_eq!(
        inspected("{{.IPAM.Config}} {{.IPAM.Driver}} {{range .IPAM.Config}}{{.Subnet}}{{end}}"),
        format!("[{{{subnet}  {gateway} map[]}}] default {subnet}\n")
    );
    assert_eq!(
        inspected(
            r#"{{range .Containers}}{{.Name}}{{end}} {{.Labels.team}} {{index .Labels "team"}} {{.Labels.none}} [{{index .Labels "none"}}]"#
        ),
        format!("{}-web-1 blue blue <no value> []\n", project.name)
    );
    assert_eq!(
        inspected("{{eq .ID .Id}} {{len .Id}} {{.Peers}} {{json .Ingress}}\\t"),
        "true 64 [] false\\t\n"
    );
    let whole: serde_json::Value = serde_json::from_str(&inspected("{{json .}}")).unwrap();
    let array: serde_json::Value = serde_json::from_str(&inspected("json")).unwrap();
    assert_eq!(json!([whole]), array);

    let volumes = |format: &str| project.ok(&["volume", "ls", "-f", &only_volume, "--format", format]);
    let fields =
        "{{.Name}} {{.Driver}} {{.Scope}} {{.Size}} {{.Links}} {{.Status}} {{.Group}} {{.Availability}}";
    assert_eq!(volumes(fields), format!("{volume} local local N/A N/A N/A N/A N/A\n"));
    assert_eq!(volumes(r#"table {{.Driver}}\t{{.Label "team"}}"#), "DRIVER    team\nlocal     green\n");
    assert_eq!(project.ok(&["volume", "ls", "-q", "-f", &only_volume, "--format", "{{.Driver}}"]), "local\n");
    assert_eq!(
        project.ok(&["volumes", "--format", "{{.Name}} {{.Label \"team\"}}"]),
        format!("{volume} green\n")
    );
    let inspected = |format: &str| project.ok(&["volume", "inspect", "--format", format, &volume]);
    assert_eq!(
        inspected("{{.Options}} {{.Labels.team}} {{.Scope}} {{.Status}} {{.UsageData}}"),
        "map[] green local map[] <no value>\n"
    );
    assert!(inspected("{{.Mountpoint}}").starts_with('/'));
    assert!(inspected("json").starts_with("[{\"CreatedAt\":"));

    let ports = r#"{{range .Publishers}}{{.URL}} {{.TargetPort}}/{{.Protocol}} {{if .PublishedPort}}published{{end}};{{end}}"#;
    let published = "127.0.0.1 53/udp published;127.0.0.1 80/tcp published;";
    assert_eq!(project.ok(&["ps", "--format", ports]), format!("{published}\n"));
    let mounted = "{{.Mounts}} {{.LocalVolumes}}";
    assert_eq!(project.ok(&["ps", "--no-trunc", "--format", mounted]), format!("{volume},/etc 1\n"));
    assert_eq!(project.ok(&["ps", "--format", mounted]), format!("{}…,/etc 1\n", &volume[..14]));
    // Ours, with headers of their own.
    let shown = project.ok(&[
        "ps",
        "--format",
        "table {{.Service}}\\t{{if .Pid}}{{.ExclusiveCPUs}}{{end}}\\t{{.Reason}}\\t{{.Address}}",
    ]);
    let (header, line) = shown.split_once('\n').unwrap();
    assert_eq!(header, "SERVICE   EXCLUSIVE CPUS   REASON    ADDRESS");
    let address = project.field("web", "Address");
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["web", address.as_str().unwrap()]);
    project.down();
}

#[test]
fn whatever_json_has_a_column_has() {
    let image = Layout::busybox("format-columns").config(json!({"Cmd": ["sleep", "1000"]}));
    let file = "services: {a: {image: 'oci:./image', volumes: ['data:/data'], x-bandwidth: {egress: 8mbit}, x-cpus-exclusive: 1}}
volumes: {data: {}}
";
    let project = Project::new("format-columns", file);
    image.write(&project.folder.join("image"));
    project.ok(&["up", "-d"]);
    for verb in ["ps", "stats --no-stream", "volumes", "volume ls", "network ls", "image ls"] {
        let listed =
            |format: &str| project.ok(&verb.split(' ').chain(["--format", format]).collect::<Vec<_>>());
        let mut objects = listed("json")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<serde_json::Value>>();
        let keys: Vec<String> = objects.pop().unwrap().as_object().unwrap().keys().cloned().collect();
        let template: Vec<String> = keys.iter().map(|key| format!("{{{{.{key}}}}}")).collect();
        let shown = listed(&format!("table {}", template.join("\\t")));
        let header = shown.lines().next().unwrap();
        assert!(!header.contains("<no value>") && keys.len() > 8, "{verb}: {header}");
    }
    project.ok(&["down", "-v", "-t", "0"]);
    project.ok(&["image", "rm", "oci:./image"]);
    project.down();
}

#[test]
fn a_wrong_template_is_told_with_its_place_and_what_there_is() {
    let project = Project::new("format-wrong", FILE);
    project.ok(&["up", "-d"]);
    let network = format!("{}_front", project.name);
    let (out, code, error) = answer(&project, &["ps", "--format", r"{{.Name}}\t{{.Nmae}}"]);
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(
        error.starts_with(r"error: --format '{{.Name}}\t{{.Nmae}}', character 14: there is no field `Nmae`; there are Address,"),
        "{error}"
    );
    assert!(error.contains(" Label, ") && error.ends_with(" State, Status\n"), "{error}");
    // What cannot be read has another status where Docker's `inspect` has it.
    let (out, code, error) = answer(&project, &["network", "inspect", "-f", "{{.Name", &network]);
    assert_eq!(
        (out.as_str(), code, error.as_str()),
        ("", 64, "error: --format '{{.Name', character 8: unclosed action\n")
    );
    let (out, code, error) = answer(&project, &["network", "inspect", "-f", "{{.IPAM.Confg}}", &network]);
    assert_eq!((out.as_str(), code), ("\n", 1));
    assert!(error.contains("there is no field `Confg`; there are Config, Driver, Options"), "{error}");
    let (out, code, error) =
        answer(&project, &["network", "inspect", "-f", "{{.Name}}", "no-such", &network]);
    assert_eq!((out, code), (format!("{network}\n"), 1));
    assert!(error.contains("network no-such not found"), "{error}");
    for args in [
        &["network", "ls", "--format", "{{.Nothing}}"][..],
        &["volume", "ls", "--format", "table {{.Nothing}}"],
        &["volumes", "--format", "{{upper .Nothing}}"],
        &["stats", "--no-stream", "--format", "{{.Nothing}}"],
        &["stats", "--format", "table {{.Nothing}}"],
    ] {
        let (out, code, error) = answer(&project, args);
        assert_eq!((out.as_str(), code), ("", 1), "{args:?}");
        assert!(error.contains("there is no field `Nothing`; there are "), "{error}");
    }
    project.down();
}

#[test]
fn images_are_told_by_templates_of_dockers_fields() {
    let image = Layout::busybox("format-image").config(json!({"Cmd": ["sleep", "1"], "Env": ["A=1", "B=2"]}));
    let project = Project::new("format-image", "services: {}\n");
    image.write(&project.folder.join("image"));
    project.ok(&["image", "pull", "oci:./image"]);
    let name = format!("{}/shop:v1", project.name);
    project.ok(&["image", "tag", "oci:./image", &name]);
    let listed = |args: &[&str]| project.ok(&[&["image", "ls", &name], args].concat());
    assert_eq!(
        listed(&[
            "--format",
            "{{.Repository}} {{.Tag}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}} {{len .ID}}"
        ]),
        format!("{}/shop v1 0 N/A N/A 12\n", project.name)
    );
    assert_eq!(listed(&["-q", "--format", "{{.Tag}}"]), "v1\n");
    let shown = listed(&["--digests", "--format", "table {{.Tag}}"]);
    assert!(shown.starts_with("TAG       DIGEST\nv1        sha256:"), "{shown}");
    let shown = listed(&["--format", "table {{.CreatedSince}}\\t{{.Tag}}"]);
    assert!(shown.starts_with("CREATED ") && shown.lines().next().unwrap().ends_with("TAG"), "{shown}");
    let inspected = |format: &str| project.ok(&["image", "inspect", "-f", format, &name]);
    assert_eq!(
        inspected(
            "{{.Config.Cmd}} {{join .Config.Env \",\"}} [{{.Config.User}}] {{.Config.Labels}} {{.Os}} {{len .RootFS.Layers}} [{{.Author}}]"
        ),
        "[sleep 1] A=1,B=2 [] map[] linux 1 []\n"
    );
    assert_eq!(
        inspected("{{json .Config.Cmd}} {{index .RepoTags 0}}"),
        format!("[\"sleep\",\"1\"] {name}\n")
    );
    assert!(inspected("{{.Id}}").starts_with("sha256:"));
    assert!(inspected("json").starts_with("[{\""));
    let (_, code, error) = answer(&project, &["image", "inspect", "-f", "{{.Config.Comand}}", &name]);
    assert!(
        code == 1 && error.contains("there is no field `Comand`; there are ArgsEscaped, Cmd,"),
        "{error}"
    );
    project.ok(&["image", "rm", "oci:./image", &name]);
    project.down();
}
