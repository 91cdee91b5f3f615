//! Without interpolation (`config --no-interpolate`), expressions stay, and short forms that cannot be taken apart.

use serde_json::json;

use super::{json, shaped};

#[test]
fn expressions_are_kept() {
    let text = r#"
services:
  a:
    image: ${IMAGE}
    mem_limit: $MEM
    tty: ${TTY:-true}
    environment: ["A=$B"]
    ports: ["${PORT}:80", "81"]
    volumes: ["${DATA:-./d}:/data:ro", "$ALL"]
    deploy: {replicas: "${N}"}
"#;
    let (root, report) = shaped(&[text], false);
    assert!(report.found.is_empty(), "{:?}", report.found);
    let service = json(&root.unwrap())["services"]["a"].take();
    assert_eq!(service["image"], "${IMAGE}");
    assert_eq!(service["mem_limit"], "$MEM");
    assert_eq!(service["tty"], "${TTY:-true}");
    assert_eq!(service["environment"], json!(["A=$B"]));
    assert_eq!(service["ports"], json!(["${PORT}:80", "81"]));
    assert_eq!(service["deploy"]["replicas"], "${N}");
    let data = json!({"type": "volume", "source": "${DATA:-./d}", "target": "/data", "read_only": true, "volume": {}});
    assert_eq!(service["volumes"][0], data);
}

#[test]
fn a_dollar_sign_is_no_expression_once_they_are_replaced() {
    let (_, report) = shaped(&["services: {a: {mem_limit: $x}}"], true);
    assert!(report.has_errors());
}
