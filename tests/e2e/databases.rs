//! Redis and PostgreSQL, as Debian has them, over the host's root filesystem.

use crate::stack::Project;

#[test]
fn redis_keeps_its_data_on_a_volume() {
    let file = r#"
services:
  redis:
    x-rootfs: host
    command: redis-server --dir /data --appendonly yes --bind 0.0.0.0 --protected-mode no
    volumes: ["data:/data"]
    healthcheck: { test: ["CMD", "redis-cli", "ping"], interval: 1s, retries: 60 }
  client:
    x-rootfs: host
    command: ["redis-cli", "-h", "redis", "incr", "visits"]
    depends_on: { redis: { condition: service_healthy } }
volumes: { data: }
"#;
    let project = Project::new("redis", file);
    for visit in ["1\n", "2\n"] {
        project.ok(&["up", "-d"]);
        project.ends("client");
        assert_eq!(project.ok(&["logs", "--no-log-prefix", "client"]), visit);
        let logs = project.ok(&["logs", "redis"]);
        assert!(logs.contains("Ready to accept connections"), "{logs}");
        // It handles SIGTERM: it saves and leaves by itself.
        project.ok(&["down"]);
    }
    project.down();
}

/// As the official image's entrypoint: a temporary server first, on which the probe already succeeds; the real one
/// after it. Whoever waits for health must not be let in by the first.
#[test]
fn postgresql_is_healthy_when_its_real_server_is() {
    let bin = std::fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed (scripts/check does)");
    let bin = bin.map(|entry| entry.unwrap().path().join("bin")).max().unwrap().display().to_string();
    let file = r#"
services:
  db:
    x-rootfs: host
    user: postgres
    environment: { PATH: "@bin@:/usr/bin:/bin", PGDATA: /data/db }
    volumes: ["data:/data"]
    entrypoint: ["bash", "/start.sh"]
    tmpfs: ["/run/postgresql"]
    healthcheck: { test: "pg_isready -h /run/postgresql && echo answered 1<>/tmp/answered", interval: 1000s }
  prepare:
    x-rootfs: host
    command: ["sh", "-c", "chown postgres /data"]
    volumes: ["data:/data"]
  client:
    x-rootfs: host
    command: ["psql", "-h", "db", "-U", "postgres", "-Atc", "select v from t"]
    depends_on: { db: { condition: service_healthy } }
volumes: { data: }
"#;
    let project = Project::new("postgres", &file.replace("@bin@", &bin));
    // However long the first phases take: no probe succeeds before the last one, which is a moment.
    let script = r#"
set -e
initdb -A trust -U postgres >/dev/null
echo "host all all all trust" >> $PGDATA/pg_hba.conf
pg_ctl -w -o "-c listen_addresses='' -k /tmp" start >/dev/null
psql -h /tmp -U postgres -qc "create table t as select 42 as v"
pg_ctl -m fast -w stop >/dev/null
mkfifo /tmp/answered
pg_ctl -w -o "-c listen_addresses='' -k /run/postgresql" start >/dev/null
# Until a probe has been answered by it.
read line < /tmp/answered
pg_ctl -m immediate -w stop >/dev/null
exec postgres -k /run/postgresql -c listen_addresses='*'
"#;
    project.write("start.sh", script);
    let text = std::fs::read_to_string(project.folder.join("compose.yaml")).unwrap();
    let text = text
        .replace("volumes: [\"data:/data\"]\n    entrypoint", "volumes: [\"data:/data\", \"./start.sh:/start.sh:ro\"]\n    depends_on: { prepare: { condition: service_completed_successfully } }\n    entrypoint");
    project.write("compose.yaml", &text);
    project.ok(&["up", "-d"]);
    project.ends("client");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "client"]), "42\n");
    project.down();
}
