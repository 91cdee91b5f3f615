//! Root folders, bind mounts, volumes, tmpfs.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use crate::stack::{Project, busybox};

#[test]
fn a_root_folder_is_copy_on_write() {
    let project = Project::new("folder", "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}");
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "sh", "-c", "echo x > /new; rm /bin/ls; echo x >> /etc/passwd"]);
    assert!(!busybox().join("new").exists() && busybox().join("bin/ls").symlink_metadata().is_ok());
    // It outlives an `up` that finds nothing to change, and not the container.
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "test", "-e", "/new"]);
    project.ok(&["down", "-t", "0"]);
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "test", "!", "-e", "/new"]);
    project.down();
}

#[test]
fn bind_mounts_read_only_and_read_write() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes:
      - ./in:/in:ro
      - ./out:/out
      - type: bind
        source: ./in/file
        target: /deep/er/file
        read_only: true
      - ./new/folder:/made
      - ./in:/out/inner
"#;
    let project = Project::new("binds", file);
    fs::create_dir(project.folder.join("in")).unwrap();
    fs::write(project.folder.join("in/file"), "from outside\n").unwrap();
    fs::create_dir(project.folder.join("out")).unwrap();
    // What appears in a user's project is the user's.
    chown(&project.folder, Some(1234), Some(1234)).unwrap();
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(sh("cat /in/file /deep/er/file /out/inner/file"), "from outside\n".repeat(3));
    assert!(
        sh("(echo x > /in/new) 2>&1; (echo x > /deep/er/file) 2>&1; true").matches("Read-only").count() == 2
    );
    sh("echo from inside > /out/file; touch /made/file");
    assert_eq!(fs::read_to_string(project.folder.join("out/file")).unwrap(), "from inside\n");
    for made in ["new", "new/folder"] {
        assert_eq!(fs::metadata(project.folder.join(made)).unwrap().uid(), 1234, "{made}");
    }
    project.down();
}

#[test]
fn a_missing_source_that_must_not_be_made_is_named() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: [{type: bind, source: ./absent, target: /x, bind: {create_host_path: false}}]
"#;
    let project = Project::new("absent", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert!(code == 1 && message.contains("/absent") && message.contains("No such file"), "{message}");
    project.assert_nothing_left();
}

#[test]
fn tmpfs_and_read_only_roots() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    read_only: true
    tmpfs: [/scratch]
    volumes:
      - {type: tmpfs, target: /small, tmpfs: {size: 1m, mode: 0700}}
      - /anonymous
"#;
    let project = Project::new("tmpfs", file);
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert!(sh("(echo x > /file) 2>&1; true").contains("Read-only"));
    sh("echo x > /scratch/file; echo x > /anonymous/file; echo x > /dev/shm/file");
    assert_eq!(sh("stat -c %a /scratch /small"), "1777\n700\n");
    assert_eq!(sh("head -c 2000000 /dev/zero > /small/file; stat -c %s /small/file"), "1048576\n");
    project.down();
}

#[test]
fn a_target_cannot_lead_out_of_the_root() {
    // In the root folder, `/link` leads to the host's /tmp; inside a container it leads to its own.
    let root = std::env::temp_dir().join(format!("composer-e2e-linked-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    fs::copy(busybox().join("bin/busybox"), root.join("busybox")).unwrap();
    std::os::unix::fs::symlink("/../../tmp", root.join("link")).unwrap();
    let project = Project::new(
        "linked",
        &format!(
            "services: {{one: {{x-rootfs: {}, command: [/busybox, sleep, '1000'], volumes: ['./data:/link/inside']}}}}",
            root.display()
        ),
    );
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "one", "/busybox", "ls", "/tmp"]), "inside\n");
    project.down();
    assert!(!std::env::temp_dir().join("inside").exists());
    fs::remove_dir_all(root).unwrap();
}
