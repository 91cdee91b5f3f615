//! Whatever members come in whatever order, nothing outside the folder changes.

use super::{Tar, With, World};

/// A generator of numbers that are the same each time (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick<'a>(&mut self, from: &'a [String]) -> &'a str {
        &from[self.below(from.len())]
    }
}

#[test]
fn nothing_outside_changes() {
    let mut unpacked = 0;
    for seed in 0..150 {
        let world = World::new();
        let outside = world.outside();
        let names: Vec<String> =
            ["a", "b", "a/b", "b/a", "a/b/a", "a/canary", "b/folder/file", "a/..", "./", "a/../b"]
                .iter()
                .map(ToString::to_string)
                .chain([format!("{outside}/canary"), "../../outside/canary".to_owned()])
                .collect();
        let targets: Vec<String> = ["a", "b", ".", "..", "../..", "../../outside", "/", "/a", "a/canary"]
            .iter()
            .map(ToString::to_string)
            .chain([outside.clone(), format!("{outside}/canary"), format!("/proc/self/root{outside}")])
            .collect();
        let mut numbers = Numbers(seed);
        let mut tar = Tar::default();
        for _ in 0..12 {
            let name = numbers.pick(&names).to_owned();
            // Names that are always refused end an archive early, so they are rare.
            let name = if name.starts_with("..") && numbers.below(4) > 0 { "a".to_owned() } else { name };
            let target = numbers.pick(&targets);
            tar = match numbers.below(9) {
                0 | 1 => tar.file(&name, "dead"),
                2 => tar.folder(&name),
                3 | 4 => tar.symlink(&name, target),
                5 => tar.hardlink(&name, target),
                6 => tar.device(&name, b'6', 0, 0),
                7 => tar.file(&name.replace("canary", ".wh.canary"), ""),
                _ => tar.member(
                    name.as_bytes(),
                    b'5',
                    b"",
                    &With { mode: Some(0o777), owner: (5, 5), modified: 9, ..With::default() },
                ),
            };
        }
        unpacked += usize::from(world.unpack(&tar.end()).is_ok());
        world.assert_untouched(&format!("seed {seed}"));
    }
    assert!(unpacked > 0, "no archive was unpacked whole");
}
