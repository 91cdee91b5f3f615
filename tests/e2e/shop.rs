//! examples/shop, as its README has it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::stack::Project;

fn get(project: &Project, path: &str) -> String {
    let address = project.field("front", "Address");
    let mut stream = TcpStream::connect((address.as_str().unwrap(), 8000)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: shop\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn buy(project: &Project, path: &str) -> serde_json::Value {
    let answer = get(project, path);
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn a_purchase_passes_through_all_of_it_and_is_remembered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = Path::new(env!("CARGO_BIN_EXE_compose")).parent().unwrap();
    assert!(
        programs.join("shop-front").exists(),
        "build the shop first: cargo build --workspace --all-targets"
    );
    let file = std::fs::read_to_string(root.join("examples/shop/compose.yaml")).unwrap();
    let project = Project::new("shop", &file.replace("name: shop", ""));
    std::fs::copy(root.join("examples/shop/products.json"), project.folder.join("products.json")).unwrap();
    project.write(".env", &format!("SHOP_BIN={}\n", programs.display()));

    project.ok(&["up", "-d", "--wait"]);
    assert!(get(&project, "/").contains("Bread"));
    let sale = buy(&project, "/buy/bread?n=3");
    assert_eq!((&sale["product"], &sale["total"]), (&"Bread".into(), &"9.60 EUR".into()), "{sale}");
    assert_eq!(
        (&sale["order"], &sale["left"], &sale["store_run"]),
        (&1.into(), &37.into(), &1.into()),
        "{sale}"
    );
    let workers: Vec<String> = [1, 2]
        .map(|index| {
            project.ok(&["exec", "-T", "--index", &index.to_string(), "worker", "hostname"]).trim().to_owned()
        })
        .into();
    assert!(workers.iter().any(|name| sale["worker"] == name.as_str()), "{sale} by one of {workers:?}");
    assert!(get(&project, "/buy/nothing").contains("there is no nothing"));

    // The store's volume outlives its container.
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait"]);
    let sale = buy(&project, "/buy/bread");
    assert_eq!(
        (&sale["order"], &sale["left"], &sale["store_run"]),
        (&2.into(), &36.into(), &2.into()),
        "{sale}"
    );
    project.down();
}
