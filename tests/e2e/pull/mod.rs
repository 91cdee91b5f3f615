//! Images from registries: `pull`, `images`, `image`, `login` and `logout`, and what goes wrong with them.

mod pushed;
mod refused;
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::stack::{Project, text};
use server::{Gated, Server};

/// A folder of one test with a store of its own, which the machine's other stacks do not see.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("e2e-place-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("store")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `compose ARGS…` with this place's store. `mount` is what is mounted there, as mount(8) takes it.
    fn command_on(&self, mount: &str, args: &[&str]) -> Command {
        let store = "/var/lib/compose/images";
        let script = format!("mkdir -p -m 700 {store} && mount {mount} {store} && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_compose")]);
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        command.env("DOCKER_CONFIG", self.path("docker")).env("STORE", self.path("store"));
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_on("--bind \"$STORE\"", args)
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Standard error of a command that must fail.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output.stderr));
        text(&output.stderr)
    }

    fn layout(&self, name: &str, layout: &Layout) -> PathBuf {
        layout.write(&self.path(name));
        self.path(name)
    }

    /// What is in a folder of the store.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("store").join(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The lines of a text, sorted: several images say theirs at once.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn all_services_images_come_at_once_and_only_what_is_new() {
    let place = Place::new("pull-all");
    let server = Server::start(&place.path("registry"), false);
    let base = Layout::busybox("pull-all");
    let api = base.clone().layer(&[("api", "1\n")]).document(json!({"created": "2026-01-02T03:04:05Z"}));
    let api = server.push(&place.layout("api", &api), "shop/api", "v1");
    let web = server.push(&place.layout("web", &base.layer(&[("web", "1\n")])), "shop/web", "v1");
    let file = format!(
        "name: shop\nservices:\n  api: {{image: '{api}', depends_on: [own]}}\n  web: {{image: '{web}', depends_on: [api]}}\n  own: {{x-rootfs: host, command: ['true']}}\n"
    );
    fs::write(place.path("compose.yaml"), file).unwrap();

    let shown = text(&place.run(&["pull", "api"]).stderr);
    assert_eq!(shown.matches("  Pull complete  ").count(), 2, "{shown}");
    assert!(shown.contains(&format!(" Image {api}  Pulling\n")), "{shown}");
    assert!(shown.contains(&format!(" Image {api}  Pulled  ")) && !shown.contains(&web), "{shown}");
    // The layer that both have is there.
    let shown = text(&place.run(&["pull", "--include-deps", "web"]).stderr);
    assert_eq!(shown.matches("  Pull complete  ").count(), 1, "{shown}");
    assert_eq!(shown.matches("  Already exists\n").count(), 3, "{shown}");
    assert!(shown.contains(&format!(" Image {api}  Pulled  up to date\n")), "{shown}");
    assert!(shown.contains(" Image own  Skipped  No image to be pulled\n"), "{shown}");
    // Of what is there nothing is asked.
    let shown = text(&place.run(&["pull", "--policy", "missing"]).stderr);
    let skipped = |image: &str| format!(" Image {image}  Skipped  Image is already present locally");
    assert!(sorted(&shown).contains(&skipped(&api).as_str()) && shown.contains(&skipped(&web)), "{shown}");
    // Quiet, and as JSON.
    let quiet = place.run(&["pull", "-q"]);
    assert_eq!((text(&quiet.stdout), text(&quiet.stderr)), (String::new(), String::new()));
    let shown = text(&place.run(&["--progress", "json", "pull", "api"]).stderr);
    let objects: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.last().unwrap()["text"], "Pulled");
    assert_eq!(objects[1]["parent_id"], format!("Image {api}"));

    let rows = place.ok(&["image", "ls"]);
    let header: Vec<&str> = rows.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    assert_eq!(rows.lines().count(), 3, "{rows}");
    assert_eq!(place.ok(&["image", "ls", "-q", "--filter", "reference=*/shop/web:v*"]).lines().count(), 1);
    let shown: Value = serde_json::from_str(&place.ok(&["image", "inspect", &api])).unwrap();
    assert_eq!((&shown[0]["RepoTags"][0], &shown[0]["Os"]), (&json!(api), &json!("linux")));
    assert_eq!(shown[0]["Created"], "2026-01-02T03:04:05Z");
    assert_eq!(shown[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);

    // By id, by name; the layer that the other stands on stays until that goes too.
    let id = shown[0]["Id"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let gone = place.ok(&["image", "rm", &id[..12]]);
    assert_eq!(gone, format!("Untagged: {api}\nDeleted: sha256:{id}\n"));
    assert_eq!(place.names("layers/sha256").len(), 2);
    let pruned = place.ok(&["image", "prune", "-f"]);
    assert_eq!(pruned, "Total reclaimed space: 0B\n", "what has a name stays");
    let pruned = place.ok(&["image", "prune", "-a", "-f"]);
    assert!(pruned.starts_with(&format!("Deleted Images:\nuntagged: {web}\ndeleted: sha256:")), "{pruned}");
    assert_eq!((place.names("layers/sha256").len(), place.names("images").len()), (0, 0));
}

#[test]
fn what_containers_stand_on_is_not_removed() {
    let place = Place::new("pull-used");
    let server = Server::start(&place.path("registry"), false);
    let label = format!("e2e-{}", std::process::id());
    // Its layer is of this run alone: the store is the host's, and what another run has made of the same would stay.
    let layout = Layout::busybox(&label).config(json!({"Labels": {&label: "yes"}, "Cmd": ["sleep", "1000"]}));
    let image = server.push(&place.layout("image", &layout), "shop/used", "v1");
    let project = Project::new("pull-used", &format!("services:\n  a: {{image: '{image}', init: true}}\n"));
    let up = text(&project.run(&["up", "-d"]).stderr);
    assert!(up.contains(&format!(" Image {image}  Pulled  ")), "{up}");
    let container = format!("{}-a-1", project.name);

    let rows = project.ok(&["images"]);
    let row: Vec<&str> = rows.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], [&container, &format!("{}/shop/used", server.name), "v1"]);
    let lines: Value = serde_json::from_str(&project.ok(&["images", "--format", "json"])).unwrap();
    assert_eq!(lines[0]["ContainerName"], container);
    assert!(lines[0]["ID"].as_str().unwrap().ends_with(project.ok(&["images", "-q", "a"]).trim_end()));
    let (code, said) = project.fails(&["image", "rm", &image]);
    let holds = format!("container {container} of stack {} stands on it", project.name);
    assert!(code == 1 && said.contains(&image) && said.contains(&holds), "{said}");
    // With `--force` the name goes, and the container can be started again.
    let filter = format!("label={label}");
    let pruned = project.ok(&["image", "prune", "-a", "-f", "--filter", &filter]);
    assert_eq!(pruned, "Total reclaimed space: 0B\n");
    assert_eq!(project.ok(&["image", "rm", "-f", &image]), format!("Untagged: {image}\n"));
    project.ok(&["restart", "-t", "0"]);
    assert_eq!(project.field("a", "State"), "running");
    // Nothing moves when it comes back, and once nothing stands on it, it goes.
    let pulled = text(&project.run(&["pull"]).stderr);
    assert!(pulled.contains("  Already exists\n") && !pulled.contains("Pull complete"), "{pulled}");
    project.ok(&["down"]);
    let pruned = project.ok(&["image", "prune", "-a", "-f", "--filter", &filter]);
    assert!(pruned.contains(&format!("untagged: {image}\ndeleted: sha256:")), "{pruned}");
    assert!(!layout.top_layer().exists());
    project.down();
}

#[test]
fn an_interrupt_leaves_nothing_half_made() {
    let place = Place::new("pull-interrupt");
    let layout = place.layout("image", &Layout::busybox("pull-interrupt").layer(&[("more", "1\n")]));
    let gated = Gated::start(&layout);
    let image = format!("{}/shop:latest", gated.name);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let begun = gated.count();
        let pull = place
            .command(&["image", "pull", &image])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        gated.begun(begun + 2);
        kill(Pid::from_raw(pull.id().cast_signed()), signal).unwrap();
        let ended = pull.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130), "{}", text(&ended.stderr));
        assert!(text(&ended.stderr).ends_with("stopped: nothing half-made is left\n"));
        for folder in ["tmp", "images", "layers"] {
            assert_eq!(place.names(folder), [""; 0], "{folder}");
        }
    }
    gated.open();
    place.ok(&["image", "pull", &image]);
    assert_eq!(place.names("layers/sha256").len(), 2);
}

#[test]
fn two_that_pull_the_same_share_the_work() {
    let place = Place::new("pull-share");
    let layout = place.layout("image", &Layout::busybox("pull-share"));
    let gated = Gated::start(&layout);
    let image = format!("{}/shop:latest", gated.name);
    let first = place
        .command(&["image", "pull", &image])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    gated.begun(1);
    let mut second = place
        .command(&["image", "pull", &image])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("  Waiting  somebody else is bringing it")));
    gated.open();
    let rest: Vec<String> = lines.collect();
    assert!(first.wait_with_output().unwrap().status.success() && second.wait().unwrap().success());
    assert!(rest.last().unwrap().contains("  Pulled  "), "{rest:?}");
    assert_eq!(gated.count(), 1, "the layer was asked for once");

    // One that is killed leaves its work to the next.
    place.ok(&["image", "prune", "-a", "-f"]);
    let gated = Gated::start(&layout);
    let image = format!("{}/shop:latest", gated.name);
    let mut first = place
        .command(&["image", "pull", &image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    gated.begun(1);
    let second = place
        .command(&["image", "pull", &image])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    gated.begun(2);
    gated.open();
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success(), "{}", text(&second.stderr));
    place.ok(&["image", "prune", "-f"]);
    assert_eq!(place.names("tmp"), [""; 0]);
}

#[test]
fn logging_in_makes_pulls_of_the_registry_possible() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("pull-login");
    let server = Server::start(&place.path("registry"), true);
    let image = server.push(&place.layout("image", &Layout::busybox("pull-login")), "shop/secret", "v1");
    let said = place.fails(&["image", "pull", &image]);
    assert!(said.contains(&format!("`{image}`")) && said.contains("it wants credentials"), "{said}");

    let log_in = |secret: &str, args: &[&str]| {
        let args = [&["login", "-u", "ann", "--password-stdin", &server.name], args].concat();
        let mut child = place
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let refused = log_in("wrong\n", &[]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("refuses the credentials of `ann`"), "{said}");
    let config = place.path("docker/config.json");
    assert!(!config.exists(), "what was refused is not kept");
    let accepted = log_in("secret\n", &[]);
    assert_eq!(text(&accepted.stdout), "Login Succeeded\n", "{}", text(&accepted.stderr));
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.ok(&["login", &server.name]), "Login Succeeded\n", "with what is kept");
    place.ok(&["image", "pull", "-q", &image]);
    assert_eq!(
        place.ok(&["logout", &server.name]),
        format!("Removing login credentials for {}\n", server.name)
    );
    assert_eq!(place.ok(&["logout", &server.name]), format!("Not logged in to {}\n", server.name));
    place.fails(&["image", "pull", &image]);
    // Nobody can be asked.
    let said = place.fails(&["login", &server.name]);
    assert!(said.contains("--password-stdin"), "{said}");
    let said = place.fails(&["login", "--password-stdin", &server.name]);
    assert!(said.contains("must provide --username with --password-stdin"), "{said}");
}

/// Whatever the kind of a path.
fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn config_names_images_by_what_registries_have_now() {
    let place = Place::new("pull-pins");
    let server = Server::start(&place.path("registry"), false);
    let image = server.push(&place.layout("image", &Layout::busybox("pull-pins")), "shop/pins", "v1");
    let index: Value = serde_json::from_slice(&fs::read(place.path("image/index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let file =
        format!("services:\n  a: {{image: '{image}'}}\n  b: {{image: '{image}'}}\n  c: {{build: .}}\n");
    fs::write(place.path("compose.yaml"), file).unwrap();
    let pinned = format!("image: {image}@{digest}\n");
    let said = place.ok(&["config", "--resolve-image-digests"]);
    assert_eq!(said.matches(&pinned).count(), 2, "{said}");
    let said = place.ok(&["config", "--lock-image-digests"]);
    assert_eq!(said.matches(&pinned).count(), 2, "{said}");
    // What is locked holds over the file, also once the tag is another image's.
    fs::write(place.path("lock.yaml"), said).unwrap();
    server.push(&place.layout("other", &Layout::busybox("pull-pins-2")), "shop/pins", "v1");
    let said = place.ok(&["-f", "compose.yaml", "-f", "lock.yaml", "config", "--resolve-image-digests"]);
    assert_eq!(said.matches(&format!("@{digest}\n")).count(), 2, "{said}");
    let missing = format!("services:\n  a: {{image: '{}/shop/none:1'}}\n", server.name);
    fs::write(place.path("compose.yaml"), missing).unwrap();
    let said = place.fails(&["config", "--resolve-image-digests"]);
    assert!(said.contains("shop/none:1") && said.contains("cannot find"), "{said}");
}
