//! What is here goes to a registry, and comes back from there.

use std::fs;

use super::Place;
use super::server::Server;
use crate::layout::Layout;
use crate::stack::text;

#[test]
fn images_go_to_another_registry() {
    let place = Place::new("push");
    let from = Server::start(&place.path("from"), false);
    let to = Server::start(&place.path("to"), true);
    let layout = Layout::busybox("push").layer(&[("opt/", ""), ("opt/own", "mine\n")]);
    let image = from.push(&place.layout("image", &layout), "shop/api", "v1");
    place.ok(&["image", "pull", "-q", &image]);
    let near = format!("{}/shop/near:v1", from.name);
    let far = format!("{}/shop/far:v1", to.name);
    place.ok(&["image", "tag", &image, &near]);
    place.ok(&["image", "tag", &image, &far]);
    assert_eq!(place.ok(&["image", "ls"]).lines().count(), 4);

    // To the same registry: it takes the layers over itself, and the image stays the same.
    let pushed = place.run(&["image", "push", &near]);
    let shown = text(&pushed.stderr);
    assert!(pushed.status.success() && shown.contains("  Already exists\n"), "{shown}");
    assert!(
        shown.contains(&format!(" Image {near}  Pushing\n"))
            && shown.contains(&format!(" Image {near}  Pushed  "))
    );
    let digest = |reference: &str| {
        let rows = place.ok(&["image", "ls", "--digests", "--format", "json", reference]);
        let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        row["Digest"].as_str().unwrap().to_owned()
    };
    assert_eq!(text(&pushed.stdout), format!("{near}: digest: {}\n", digest(&image)));

    // To another, as a service that is built, once somebody has logged in.
    let file = format!(
        "name: push\nservices:\n  far: {{image: '{far}', build: .}}\n  api: {{image: '{image}'}}\n  none: {{build: .}}\n"
    );
    fs::write(place.path("compose.yaml"), file).unwrap();
    let said = place.fails(&["push"]);
    assert!(said.contains(&format!("`{far}`")) && said.contains("credentials"), "{said}");
    assert!(said.contains(" Image api  Skipped  ") && said.contains(" Image none  Skipped  "), "{said}");
    let ignored = place.run(&["push", "--ignore-push-failures"]);
    assert!(ignored.status.success() && text(&ignored.stderr).contains("warning: "));
    let log_in = place.run(&["login", "-u", "ann", "-p", "secret", &to.name]);
    assert!(log_in.status.success(), "{}", text(&log_in.stderr));
    let pushed = place.run(&["push", "far"]);
    let shown = text(&pushed.stderr);
    assert!(pushed.status.success(), "{shown}");
    assert_eq!(shown.matches("  Pushed  ").count(), 3, "two layers and the image: {shown}");
    // It comes back whole, to whoever has nothing of it.
    place.ok(&["image", "prune", "-a", "-f"]);
    place.ok(&["image", "pull", "-q", &far]);
    let layers = place.path("store/layers/sha256");
    let found = fs::read_dir(&layers).unwrap().any(|layer| {
        fs::read_to_string(layer.unwrap().path().join("fs/opt/own")).is_ok_and(|text| text == "mine\n")
    });
    assert!(found);
}

#[test]
fn what_cannot_be_pushed() {
    let place = Place::new("push-not");
    let layout = place.layout("image", &Layout::busybox("push-not"));
    place.ok(&["image", "pull", "-q", &format!("oci:{}", layout.display())]);
    let near = "127.0.0.1:1/shop/near:v1";
    let id = place.ok(&["image", "ls", "-q"]).trim_end().to_owned();
    let said = place.fails(&["image", "push", near]);
    assert!(said.contains(&format!("no image `{near}` here")), "{said}");
    let said = place.fails(&["image", "push", "oci:/nowhere"]);
    assert!(said.contains("only an image with the name of a registry can be pushed"), "{said}");
    let said = place.fails(&["image", "tag", near, "other"]);
    assert!(said.contains(&format!("no such image: {near}")), "{said}");
    let said = place.fails(&["image", "tag", &id, "oci:x"]);
    assert!(said.contains("is no name that an image can be given"), "{said}");
    place.ok(&["image", "tag", &id, near]);
    let said = place.fails(&["image", "push", near]);
    assert!(said.contains(near) && said.contains("onnection refused"), "{said}");
}
