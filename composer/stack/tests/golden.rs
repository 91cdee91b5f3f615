//! The exact text of diagnostics of `up` (`bad/`) and of `config` (`shown/`), of the canonical model (`good/`) and of `config --origins` (`origins/`).
//!
//! Each `NAME.yaml` has the expected text beside it in `NAME.txt`; `NAME.override.yaml`, where there is one, is merged
//! over it. A folder `NAME` is a case as well: it is loaded as by `compose` in that folder, with the flags, variables
//! (`KEY=value`) and services in its file `args`.
//!
//! `COMPOSER_UPDATE_GOLDEN=1 cargo test -p composer-stack` writes the expected texts anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{Block, DeviceRequest, HostFacts, IpNet, LoadOptions, Purpose, Requested, load};

/// A host of two CPUs, 4 GiB and two networks and volumes, whatever machine the test runs on.
fn options(folder: &Path, files: Vec<PathBuf>, purpose: Purpose) -> LoadOptions {
    LoadOptions {
        files,
        current_dir: folder.to_owned(),
        environment: BTreeMap::from([("SET".to_owned(), "value".to_owned())]),
        home: Some(PathBuf::from("/home/ann")),
        purpose,
        host: Some(HostFacts {
            cpus_online: [0, 1].into(),
            cores: Vec::new(),
            memory: 4 << 30,
            memory_nodes: Some([0].into()),
            huge_pages: Some([2 << 20, 1 << 30].into()),
            real_time: Some(|_| Some(950_000)),
            block: Some(block),
            device: Some(device),
            described: Some(described),
            no_ipv6: None,
            lacks: Vec::new(),
            interfaces: Some(["eth0", "eth1", "lo"].map(str::to_owned).into()),
            addresses: Some(|| {
                Some(["198.51.100.1", "2001:db8::1"].map(|text| text.parse().unwrap()).into())
            }),
            route: Some(|subnet| {
                let route = "100.64.0.0/10".parse::<IpNet>().unwrap();
                route.contains(&subnet).then_some(route)
            }),
            networks: Some(|| Some(["proxy", "shared", "shop_default"].map(str::to_owned).into())),
            volumes: Some(["archive", "shared"].map(str::to_owned).into()),
        }),
        ..LoadOptions::default()
    }
}

/// All devices but those of nobody.
fn device(path: &str) -> Result<(), String> {
    if path.contains("nobody") { Err("No such file or directory".to_owned()) } else { Ok(()) }
}

/// Two GPUs of NVIDIA's.
fn described(request: &DeviceRequest) -> Result<(), String> {
    let is_theirs = |name: &String| ["nvidia.com/gpu=0", "nvidia.com/gpu=1"].contains(&name.as_str());
    match (&request.which, request.driver.as_deref()) {
        (Requested::Whole(names), _) if names.iter().all(is_theirs) => Ok(()),
        (Requested::Count(0..=2) | Requested::All, None | Some("nvidia")) => Ok(()),
        _ => Err("nobody describes it".to_owned()),
    }
}

/// Two disks, of which one has two names, and a partition.
fn block(path: &str) -> Block {
    match path {
        "/dev/sda" | "/dev/disk/by-id/first" => Block::Disk(8, 0),
        "/dev/sdb" => Block::Disk(8, 16),
        "/dev/sda1" => Block::Partition("/dev/sda".to_owned()),
        _ => Block::None("No such file or directory (os error 2)".to_owned()),
    }
}

/// Puts the words of a file `args` into the options.
fn add_arguments(options: &mut LoadOptions, text: &str) {
    let mut words = text.split_whitespace().map(str::to_owned);
    while let Some(word) = words.next() {
        let mut path = || PathBuf::from(words.next().unwrap());
        match word.as_str() {
            "-f" => options.files.push(path()),
            "-p" => options.project_name = words.next(),
            "--env-file" => options.env_files.push(path()),
            "--profile" => options.profiles.extend(words.next()),
            "--project-directory" => options.project_directory = Some(path()),
            "--no-interpolate" => options.interpolate = false,
            "--no-normalize" => options.normalize = false,
            "--no-path-resolution" => options.resolve_paths = false,
            "--no-consistency" => options.check_consistency = false,
            "--no-env-resolution" => options.resolve_environment = false,
            "--all-resources" => options.all_resources = true,
            "--strict" => options.strict = true,
            _ => match word.split_once('=') {
                Some((key, value)) => drop(options.environment.insert(key.to_owned(), value.to_owned())),
                None => options.services.push(word),
            },
        }
    }
}

/// The options of a case: a file, or a folder.
fn case(path: &Path, folder: &Path, purpose: Purpose) -> LoadOptions {
    if path.is_dir() {
        let mut options = options(path, Vec::new(), purpose);
        add_arguments(&mut options, &fs::read_to_string(path.join("args")).unwrap_or_default());
        return options;
    }
    let mut files = vec![PathBuf::from(path.file_name().unwrap())];
    let over = path.with_extension("override.yaml");
    if over.exists() {
        files.push(PathBuf::from(over.file_name().unwrap()));
    }
    options(folder, files, purpose)
}

fn bad(options: &LoadOptions) -> String {
    match load(options) {
        Ok(loaded) => {
            // What is right is a case of `good`.
            assert!(!loaded.warnings.is_empty(), "accepted without a warning: {:?}", options.files);
            let warnings: Vec<String> = loaded.warnings.iter().map(|warning| warning.render(false)).collect();
            format!("accepted\n\n{}\n", warnings.join("\n\n"))
        }
        Err(error) => format!("{}\n", error.render(false)),
    }
}

fn good(options: &LoadOptions) -> String {
    match load(options) {
        Ok(loaded) => loaded.to_yaml().unwrap(),
        // Never a text to be written down.
        Err(error) => panic!("refused: {}", error.render(false)),
    }
}

fn origins(options: &LoadOptions) -> String {
    match load(options) {
        Ok(loaded) => loaded.origins_yaml(false).unwrap(),
        Err(error) => panic!("refused: {}", error.render(false)),
    }
}

fn run(kind: &str, purpose: Purpose, least: usize, text: fn(&LoadOptions) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let update = std::env::var_os("COMPOSER_UPDATE_GOLDEN").is_some();
    let mut names: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| {
        let text = path.to_string_lossy();
        let one = text.ends_with(".yaml") && !text.contains(".override.");
        one || path.join("compose.yaml").exists() || path.join("args").exists()
    });
    names.sort();
    assert!(names.len() >= least, "only {} cases in {}", names.len(), folder.display());
    let mut differences = Vec::new();
    for path in &names {
        let shown = folder.display().to_string();
        let actual = text(&case(path, &folder, purpose)).replace(&shown, "FOLDER");
        let expected_path = path.with_extension("txt");
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if update {
            fs::write(&expected_path, &actual).unwrap();
        } else if actual != expected {
            differences.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", path.display()));
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} of {} differ:\n\n{}", names.len(), differences.join("\n"));
}

/// For editors: what they get, line by line.
#[test]
fn chains_are_in_the_json_as_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut found = Vec::new();
    for name in ["chain_include_of_include", "chain_env_file", "chain_alias"] {
        let options = case(&folder.join(name), &folder, Purpose::Run);
        let json = load(&options).unwrap_err().render_json();
        let [line] = json.lines().collect::<Vec<_>>()[..] else { panic!("{json}") };
        found.push(serde_json::from_str::<serde_json::Value>(line).unwrap());
    }
    let [include, variable, alias] = &found[..] else { panic!("{found:?}") };
    assert_eq!(include["severity"], "error");
    assert_eq!(
        (&include["file"], &include["line"], &include["column"]),
        (&"two.yaml".into(), &2.into(), &38.into())
    );
    assert_eq!((&include["endLine"], &include["endColumn"]), (&2.into(), &45.into()));
    assert_eq!(include["source"], "  deep: {x-rootfs: host, command: a, hostnam: x}");
    let step = |found: &serde_json::Value, index: usize| {
        let step = &found["chain"][index];
        format!("{} {}:{}:{} {}", step["kind"], step["file"], step["line"], step["column"], step["label"])
            .replace('"', "")
    };
    assert_eq!(step(include, 0), "include one.yaml:3:11 included here");
    assert_eq!(step(include, 1), "include compose.yaml:1:11 included here");
    assert_eq!(step(variable, 0), "variable .env:3:7 `LIMIT` is set here");
    assert_eq!(step(alias, 0), "alias compose.yaml:20:9 used through this alias");
}

#[test]
fn diagnostics_read_as_written_down() {
    run("bad", Purpose::Run, 180, bad);
}

#[test]
fn what_contradicts_itself_is_told_of_what_is_only_shown() {
    run("shown", Purpose::Config, 4, bad);
}

#[test]
fn accepted_files_have_their_canonical_form() {
    run("good", Purpose::Config, 30, good);
}

#[test]
fn values_say_where_they_come_from() {
    run("origins", Purpose::Config, 2, origins);
}
