use std::fs;

use super::{World, amd64, layer, three};
use crate::platform::Platform;
use crate::pull::Policy;
use crate::testing::{Made, gzip, write_index};
use crate::unpack::tests::{Tar, With};

#[test]
fn a_folder_with_a_layout() {
    let world = World::new();
    let made = three();
    let reference = world.layout("image", &made);
    assert!(world.find(&reference).is_none());
    let image = world.pull(&reference).unwrap();
    assert_eq!((&image.digest, &image.id), (&made.manifest, &made.config));
    assert_eq!(image.config.run.cmd, ["run"]);
    assert_eq!(image.size, 3);
    for (folder, (name, content)) in image.layers.iter().zip([("a", "1"), ("b", "2"), ("c", "3")]) {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), content);
    }
    assert_eq!(world.find(&reference).unwrap().layers, image.layers);
    assert_eq!(world.store.list().unwrap().len(), 1);
    // By its id, whole.
    let id = world.reference(made.config.hex());
    assert_eq!(world.find(&id).unwrap().digest, made.manifest);
}

#[test]
fn an_archive_with_a_layout() {
    let world = World::new();
    let made = three();
    let mut tar = Tar::default().folder("./blobs/sha256");
    for (digest, bytes) in &made.blobs {
        let name = format!("./blobs/sha256/{}", digest.hex());
        tar = tar.member(name.as_bytes(), b'0', bytes, &With::default());
    }
    let name = r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, made.entry(name));
    fs::write(world.path("a.tar"), tar.file("index.json", &index).end()).unwrap();
    for reference in ["oci-archive:a.tar", "oci-archive:a.tar:v1"] {
        assert_eq!(world.pull(&world.reference(reference)).unwrap().digest, made.manifest);
    }
    let error = world.pull(&world.reference("oci-archive:a.tar:v2")).unwrap_err().to_string();
    assert!(error.contains("has no image `v2`; it has v1"), "{error}");
}

#[test]
fn a_layout_with_several_images_lists_them() {
    let world = World::new();
    let (one, other) = (three(), Made::new("amd64", &[layer("d", "4")]));
    let folder = world.path("images");
    for made in [&one, &other] {
        for (digest, bytes) in &made.blobs {
            let path = folder.join("blobs/sha256").join(digest.hex());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let name = |name: &str| format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
    let index = |entries: &[String]| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        fs::write(folder.join("index.json"), text).unwrap();
    };
    index(&[one.entry(&name("v1")), other.entry(&name("v2"))]);
    let error = world.pull(&world.reference("oci:images")).unwrap_err().to_string();
    assert!(error.contains("it has several images, name one after a `:`; it has v1, v2"), "{error}");
    assert_eq!(world.pull(&world.reference("oci:images:v2")).unwrap().digest, other.manifest);
    // One that has two names is one.
    index(&[one.entry(&name("v1")), one.entry(&name("latest"))]);
    assert_eq!(world.pull(&world.reference("oci:images")).unwrap().digest, one.manifest);
}

/// As `docker save` of old wrote them: layers under their ids, one that comes twice as a link.
fn saved(layers: &[Vec<u8>], twice: bool) -> Vec<u8> {
    let mut made = Made::new("amd64", layers);
    if twice {
        made = Made::new("amd64", &[layers, &layers[..1]].concat());
    }
    let mut tar = Tar::default().member(
        format!("{}.json", made.config.hex()).as_bytes(),
        b'0',
        made.blob(&made.config),
        &With::default(),
    );
    let mut names = Vec::new();
    for (number, bytes) in layers.iter().enumerate() {
        let name = format!("{number}/layer.tar");
        tar = tar.member(name.as_bytes(), b'0', bytes, &With::default());
        names.push(format!("\"{name}\""));
    }
    if twice {
        tar = tar.symlink("twice/layer.tar", "../0/layer.tar");
        names.push("\"twice/layer.tar\"".to_owned());
    }
    let manifest = format!(
        r#"[{{"Config":"{}.json","RepoTags":["shop:latest","localhost:5000/shop:v1"],"Layers":[{}]}}]"#,
        made.config.hex(),
        names.join(",")
    );
    tar.file("manifest.json", &manifest).end()
}

#[test]
fn what_docker_saves() {
    let world = World::new();
    let layers = [layer("a", "1"), layer("b", "2")];
    fs::write(world.path("plain.tar"), saved(&layers, false)).unwrap();
    for name in ["", ":shop", ":shop:latest", ":localhost:5000/shop:v1"] {
        let image = world.pull(&world.reference(&format!("docker-archive:plain.tar{name}"))).unwrap();
        assert_eq!(fs::read_to_string(image.layers[1].join("b")).unwrap(), "2");
    }
    let error = world.pull(&world.reference("docker-archive:plain.tar:other")).unwrap_err().to_string();
    assert!(error.contains("it has shop:latest, localhost:5000/shop:v1"), "{error}");

    let whole = saved(&layers, false);
    // In the middle of the configuration, which comes first.
    fs::write(world.path("cut.tar"), &whole[..520]).unwrap();
    let error = world.pull(&world.reference("docker-archive:cut.tar")).unwrap_err().to_string();
    assert!(error.contains("cut.tar") && error.contains("it is cut short, in the middle of `"), "{error}");

    for text in ["short\n", "a line of a text file\n".repeat(100).as_str()] {
        fs::write(world.path("text"), text).unwrap();
        let error = world.pull(&world.reference("docker-archive:text")).unwrap_err().to_string();
        assert!(error.contains("this is no tar archive") && !error.contains("line"), "{error}");
    }

    fs::write(world.path("twice.tar"), saved(&layers, true)).unwrap();
    let image = world.pull(&world.reference("docker-archive:twice.tar")).unwrap();
    let tops: Vec<bool> = image.layers.iter().map(|layer| layer.join("a").exists()).collect();
    assert_eq!(tops, [false, true], "of a layer that comes twice the upper one stays");

    let pressed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let plain_ids = saved(&layers, false);
    fs::write(world.path("wrong.tar"), saved(&pressed, false)).unwrap();
    let error = world.pull(&world.reference("docker-archive:wrong.tar")).unwrap_err().to_string();
    assert!(error.contains("its digest is"), "diff ids of compressed layers are wrong: {error}");

    fs::write(world.path("plain.tar.gz"), gzip(&plain_ids)).unwrap();
    let error = world.pull(&world.reference("docker-archive:plain.tar.gz")).unwrap_err().to_string();
    assert!(error.contains("unpack it with gunzip"), "{error}");
}

#[test]
fn the_platform_of_an_index() {
    let world = World::new();
    let (amd, arm) = (three(), Made::new("arm64", &[layer("arm", "x")]));
    let folder = world.path("image");
    amd.write(&folder);
    arm.write(&folder);
    let on = |platform: &str| {
        let (os, architecture) = platform.split_once('/').unwrap();
        format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#)
    };
    let entries =
        [arm.entry(&on("linux/arm64")), amd.entry(&on("linux/amd64")), arm.entry(&on("unknown/unknown"))];
    write_index(&folder, &entries);
    let reference = world.reference("oci:image");
    assert_eq!(world.pull(&reference).unwrap().digest, amd.manifest);
    let platform = Platform::parse("linux/arm64").unwrap();
    let image = world.store.pull(&reference, &platform, Policy::Missing, &|_| ()).unwrap();
    assert_eq!(image.digest, arm.manifest);
    assert_eq!(
        world.find(&reference).unwrap().digest,
        amd.manifest,
        "one platform does not replace the other"
    );
    let platform = Platform::parse("linux/riscv64").unwrap();
    let error = world.store.pull(&reference, &platform, Policy::Missing, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("not made for linux/riscv64; it is made for linux/arm64, linux/amd64"), "{error}");

    // Without an index the configuration says.
    let reference = world.layout("arm", &arm);
    let error = world.store.pull(&reference, &amd64(), Policy::Missing, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("it is made for linux/arm64"), "{error}");
}

#[test]
fn an_index_of_indexes() {
    let world = World::new();
    let made = three();
    let folder = world.path("image");
    made.write(&folder);
    let platform = r#","platform":{"os":"linux","architecture":"amd64"}"#;
    let mut entry = made.entry(platform);
    for depth in 0..6 {
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#);
        let digest = crate::Digest::of(index.as_bytes());
        fs::write(folder.join("blobs/sha256").join(digest.hex()), &index).unwrap();
        entry = format!(
            r#"{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{digest}","size":{}{platform}}}"#,
            index.len()
        );
        write_index(&folder, std::slice::from_ref(&entry));
        let result = world.pull(&world.reference("oci:image"));
        assert_eq!(result.is_ok(), depth < 4, "{depth} deep: {result:?}");
    }
}
