//! Which paths an entry of `develop.watch` means.

use std::path::{Path, PathBuf};

use composer_stack::{AfterSync, Service, Trigger, TriggerAction};
use globset::{Glob, GlobBuilder, GlobMatcher};

/// What editors leave beside the files that they write, and version control.
const PASSING: [&str; 14] = [
    "**/.git",
    "**/.idea",
    "**/4913",
    "**/*~",
    "**/.*.sw?",
    "**/.*.sw??",
    "**/.#*",
    "**/#*#",
    "**/.*.kate-swp",
    "**/*___jb_tmp___",
    "**/*___jb_old___",
    "**/.DS_Store",
    "**/.*.compose",
    "**/.goutputstream-*",
];

/// One entry of `develop.watch`, and whose it is.
pub struct Rule {
    pub service: String,
    pub trigger: Trigger,
    path: PathBuf,
    include: Vec<Pattern>,
    ignore: Vec<Pattern>,
}

struct Pattern {
    matcher: GlobMatcher,
    /// `!`: takes back what an earlier one has matched.
    negated: bool,
}

impl Rule {
    /// Reads the patterns.
    pub fn new(service: &Service, trigger: &Trigger) -> Result<Self, String> {
        let name = &service.name;
        let path = trigger.path.canonicalize().map_err(|error| {
            format!("service {name}: `develop.watch`: {}: {error}", trigger.path.display())
        })?;
        if let TriggerAction::Sync { then: AfterSync::Exec(hook), .. } = &trigger.action
            && hook.command.is_empty()
        {
            return Err(format!(
                "service {name}: `action: sync+exec` of {} needs a command: `exec: {{ command: … }}`",
                trigger.path.display()
            ));
        }
        let mut ignore: Vec<Pattern> = PASSING.iter().filter_map(|text| pattern(text).ok()).collect();
        for text in &trigger.ignore {
            ignore.push(pattern(text).map_err(|error| format!("service {name}: `ignore`: {error}"))?);
        }
        let include = trigger.include.iter().map(|text| pattern(text)).collect::<Result<_, _>>();
        let include = include.map_err(|error| format!("service {name}: `include`: {error}"))?;
        Ok(Self { service: name.clone(), trigger: trigger.clone(), path, include, ignore })
    }

    /// What is watched, with no symbolic link in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a changed path is meant.
    pub fn matches(&self, path: &Path) -> bool {
        let Some(below) = self.below(path) else { return false };
        let included = self.include.is_empty() || decide(&self.include, below);
        included && !decide(&self.ignore, below)
    }

    /// Whether nothing below this folder can be meant, so that it need not be watched.
    pub fn prunes(&self, folder: &Path) -> bool {
        let Some(below) = self.below(folder) else { return true };
        // A later `!` may take something below it back.
        let final_word = self.ignore.iter().all(|pattern| !pattern.negated);
        final_word && !below.as_os_str().is_empty() && decide(&self.ignore, below)
    }

    /// The path from the watched one on.
    pub fn below<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.strip_prefix(&self.path).ok()
    }
}

/// Docker's patterns: of a path and of the folders it is in, the last one that matches decides.
fn decide(patterns: &[Pattern], path: &Path) -> bool {
    let mut decided = false;
    for pattern in patterns {
        let matches =
            path.ancestors().any(|part| !part.as_os_str().is_empty() && pattern.matcher.is_match(part));
        if matches || (path.as_os_str().is_empty() && pattern.matcher.is_match(path)) {
            decided = !pattern.negated;
        }
    }
    decided
}

fn pattern(text: &str) -> Result<Pattern, globset::Error> {
    let (negated, rest) = match text.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let clean = rest.trim_start_matches("./").trim_matches('/');
    let glob: Glob = GlobBuilder::new(clean).literal_separator(true).build()?;
    Ok(Pattern { matcher: glob.compile_matcher(), negated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(include: &[&str], ignore: &[&str]) -> Rule {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let trigger = Trigger {
            path: "/".into(),
            action: TriggerAction::Restart,
            include: words(include),
            ignore: words(ignore),
        };
        let compiled = |texts: &[&str]| texts.iter().map(|text| pattern(text).unwrap()).collect::<Vec<_>>();
        let passing = compiled(&PASSING);
        let ignore = passing.into_iter().chain(compiled(ignore)).collect();
        Rule { service: "one".to_owned(), trigger, path: "/src".into(), include: compiled(include), ignore }
    }

    #[test]
    fn a_pattern_means_all_below_what_it_matches() {
        let rule = rule(&[], &["node_modules/", "*.log"]);
        for (path, meant) in [
            ("/src/main.py", true),
            ("/src/deep/main.py", true),
            ("/src/node_modules/x/y.js", false),
            ("/src/deep/node_modules/x", true),
            ("/src/a.log", false),
            ("/src/deep/a.log", true),
            ("/elsewhere/main.py", false),
            ("/src/.git/index", false),
            ("/src/deep/.main.py.swp", false),
            ("/src/main.py~", false),
        ] {
            assert_eq!(rule.matches(Path::new(path)), meant, "{path}");
        }
        assert!(rule.prunes(Path::new("/src/node_modules")));
        assert!(!rule.prunes(Path::new("/src/deep")));
    }

    #[test]
    fn the_last_pattern_decides() {
        let rule = rule(&["**/*.py", "!**/test_*.py"], &["vendor", "!vendor/ours"]);
        for (path, meant) in [
            ("/src/a.py", true),
            ("/src/deep/a.py", true),
            ("/src/deep/test_a.py", false),
            ("/src/a.txt", false),
            ("/src/vendor/a.py", false),
            ("/src/vendor/ours/a.py", true),
        ] {
            assert_eq!(rule.matches(Path::new(path)), meant, "{path}");
        }
        assert!(!rule.prunes(Path::new("/src/vendor")), "something in it is wanted");
    }
}
