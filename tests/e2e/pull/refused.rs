//! What cannot be pulled: each error names the image and the step, others are not disturbed, nothing half-made stays.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use super::server::{Server, layers};
use super::{Place, size};
use crate::layout::Layout;
use crate::stack::text;

#[test]
fn each_failure_names_its_image_and_the_others_come() {
    let place = Place::new("pull-refused");
    let server = Server::start(&place.path("registry"), false);
    let good = server.push(&place.layout("good", &Layout::busybox("pull-good")), "shop/good", "v1");
    // Damaged where the registry keeps it: another byte, and half of it.
    let other = place.layout("other", &Layout::busybox("pull-other"));
    let other_name = server.push(&other, "shop/other", "v1");
    let kept = server.blob(layers(&other).last().unwrap());
    let mut bytes = fs::read(&kept).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&kept, bytes).unwrap();
    let short = place.layout("short", &Layout::busybox("pull-short"));
    let short_name = server.push(&short, "shop/short", "v1");
    let kept = server.blob(layers(&short).last().unwrap());
    fs::OpenOptions::new().write(true).open(&kept).unwrap().set_len(size(&kept) / 2).unwrap();
    let arch = Layout::busybox("pull-arch").document(json!({"architecture": "riscv64"}));
    let arch_name = server.push(&place.layout("arch", &arch), "shop/arch", "v1");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let unknown = place.layout("unknown", &Layout::busybox("pull-unknown"));
    fs::write(unknown.join("index.json"), r#"{"schemaVersion":2,"manifests":[],"config":{}}"#).unwrap();

    let cases = [
        (format!("{}/shop/good:v2", server.name), "manifest unknown"),
        (format!("{}/shop/none", server.name), "the registry says: "),
        (format!("{nobody}/shop"), "onnection refused"),
        (other_name, "is not what was asked for: its digest is"),
        (short_name, "cannot read all of"),
        (arch_name, "is not made for"),
        (format!("oci:{}", unknown.display()), "cannot be used"),
        ("oci:/nowhere/at-all".to_owned(), "No such file"),
        ("Shop".to_owned(), "capital letters"),
    ];
    let services =
        cases.iter().enumerate().map(|(number, (image, _))| format!("  s{number}: {{image: '{image}'}}\n"));
    let file: String = services.collect();
    fs::write(
        place.path("compose.yaml"),
        format!("name: refused\nservices:\n  good: {{image: '{good}'}}\n{file}"),
    )
    .unwrap();
    let output = place.run(&["pull"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for (image, why) in &cases {
        let line = said
            .lines()
            .find(|line| line.starts_with("error: ") && line.contains(why) && line.contains(image.as_str()));
        assert!(line.is_some(), "{image}: {why}\n{said}");
        assert!(said.contains(&format!(" Image {image}  Error\n")), "{image}\n{said}");
    }
    assert!(said.contains(&format!(" Image {good}  Pulled  ")), "{said}");
    assert_eq!(place.ok(&["image", "ls", "-q"]).lines().count(), 1);
    assert_eq!(place.names("tmp"), [""; 0]);
    let ignored = place.run(&["pull", "--ignore-pull-failures"]);
    let said = text(&ignored.stderr);
    assert!(ignored.status.success() && said.contains("warning: cannot find `"), "{said}");
}

#[test]
fn what_nobody_has() {
    let place = Place::new("pull-nobody");
    let layout = place.layout("image", &Layout::busybox("pull-nobody"));
    let good = format!("oci:{}", layout.display());
    fs::write(place.path("compose.yaml"), format!("name: nobody\nservices:\n  a: {{image: '{good}'}}\n"))
        .unwrap();
    let said = place.fails(&["image", "pull", "--platform", "linux/s390x", &good]);
    assert!(said.contains("is not made for linux/s390x"), "{said}");
    let said = place.fails(&["image", "pull", "--platform", "linux", &good]);
    assert!(said.contains("`linux` is not a platform"), "{said}");
    let said = place.fails(&["pull", "nobody"]);
    assert!(said.contains("no such service: nobody"), "{said}");
    let said = place.fails(&["image", "rm", "nothing:here"]);
    assert!(said.contains("no such image: nothing:here"), "{said}");
    place.ok(&["image", "rm", "-f", "nothing:here"]);
}

#[test]
fn a_store_that_is_full_or_cannot_be_written() {
    let place = Place::new("pull-full");
    let server = Server::start(&place.path("registry"), false);
    let layout = Layout::busybox("pull-full").layer(&[("large", &"x".repeat(3 << 20))]);
    let image = server.push(&place.layout("image", &layout), "shop/large", "v1");
    let args = ["image", "pull", &image];
    let full = place.command_on("-t tmpfs -o size=3m tmpfs", &args).output().unwrap();
    let said = text(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.contains(&image) && said.contains("No space left on device"), "{said}");

    // As it was left, so that nothing needs to be made in it.
    place.ok(&["image", "ls"]);
    let sealed = place.command_on("--bind -o ro \"$STORE\"", &args).output().unwrap();
    let said = text(&sealed.stderr);
    assert_eq!(sealed.status.code(), Some(1), "{said}");
    assert!(said.contains(&image) && said.contains("Read-only file system"), "{said}");
    let room = place.command_on("-t tmpfs -o size=64m tmpfs", &args).output().unwrap();
    assert!(room.status.success(), "{}", text(&room.stderr));
}
