//! PostgreSQL on a volume that is empty: nobody is let in before the real server serves.

use crate::registry::Registry;
use crate::stack::Project;

const FILE: &str = r#"
services:
  db:
    image: @registry@/postgres
    environment: { POSTGRES_USER: shop, POSTGRES_PASSWORD: "a secret's", POSTGRES_DB: goods }
    volumes: ["data:/var/lib/postgresql/data", "./init.sql:/docker-entrypoint-initdb.d/init.sql:ro"]
    healthcheck: { test: pg_isready, interval: 100ms, retries: 1000 }
  client:
    image: @registry@/postgres
    entrypoint: [psql, -v, ON_ERROR_STOP=1, -h, db, -U, shop, -At, goods]
    command: [-c, "insert into goods values ('salt') returning name"]
    environment: { PGPASSWORD: "a secret's" }
    depends_on: { db: { condition: service_healthy } }
volumes: { data: }
"#;

/// scripts/soak does it more often.
#[test]
fn a_dependent_of_a_new_database_is_served() {
    let starts = std::env::var("COMPOSER_FIRST_STARTS").map_or(3, |starts| starts.parse().unwrap());
    let registry = Registry::plain();
    let project = Project::new("first-starts", &FILE.replace("@registry@", &registry.name));
    project.write("init.sql", "create table goods (name text primary key);\n");
    for start in 0..starts {
        project.ok(&["up", "-d"]);
        project.ends("client");
        let log = project.ok(&["logs", "--no-log-prefix", "client"]);
        let begin = project.ok(&["logs", "db"]);
        assert!(log.starts_with("salt\n"), "start {start}: {log}{begin}");
        assert!(begin.contains("PostgreSQL is initialized"), "start {start}: {begin}");
        project.ok(&["down", "-v"]);
    }
    project.down();
}
