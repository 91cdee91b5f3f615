//! Names and addresses.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::stack::Project;

#[test]
fn services_find_each_other_by_name_and_the_host_reaches_them() {
    let file = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    networks: { default: { aliases: [site] } }
    healthcheck: { test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 5s }
  client:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: { web: { condition: service_healthy } }
"#;
    let project = Project::new("names", file);
    project.ok(&["up", "-d"]);
    for name in ["web", "site", &format!("{}-web-1", project.name)] {
        let page = project.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", &format!("http://{name}/")]);
        assert_eq!(page, "hello\n", "by {name}");
    }
    let address = project.field("web", "Address");
    let mut stream = TcpStream::connect((address.as_str().unwrap(), 80)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello\n"), "{answer}");
    project.down();
}
