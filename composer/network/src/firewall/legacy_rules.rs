//! Rules of ours among those of iptables-legacy, which nf_tables neither sees nor changes: as in [`super::acceptance`], by
//! the programs whose tables they are, and only where these may drop what is forwarded. Who takes them away there is not
//! noticed: the kernel tells nobody, and the next look puts them back.

use std::io;
use std::process::{Command, Stdio};

use super::legacy;

/// Of IPv4 and IPv6.
const PROGRAMS: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];
/// Where they are, for callers that have no such folders in their PATH.
const FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// How long another of these programs is waited for, in seconds.
const PATIENCE: &str = "5";
const FORWARD: &str = "FORWARD";
const OUTPUT: &str = "OUTPUT";
const DOCKER_USER: &str = "DOCKER-USER";
const TAG: &str = "composer:";
/// How deep chains that lead to each other are followed.
const DEPTH: usize = 16;

/// Lets pass what is within a bridge, where bridged frames pass the firewall: `families` are those of which they do.
pub(super) fn within(bridge: &str, families: [bool; 2]) -> io::Result<()> {
    let may_drop = legacy::may_drop(legacy::FORWARD);
    for family in (0..2).filter(|family| families[*family] && may_drop[*family]) {
        let rule = rule(&["-i", bridge, "-o", bridge], &format!("{TAG}{bridge}"), "ACCEPT");
        if run(family, &[&["-C", FORWARD], &words(&rule)[..]].concat()).is_err() {
            run(family, &[&["-I", FORWARD], &words(&rule)[..]].concat())?;
        }
    }
    Ok(())
}

/// Lets pass what is within the bridges, and what the containers of those that are open ask for outside and are let in to;
/// what could not be done, for users.
pub(super) fn pass(bridges: &[String], bridged: [bool; 2], open: &[(&str, bool, bool)]) -> Vec<String> {
    let within = bridges.iter().try_for_each(|bridge| within(bridge, bridged));
    let mut warnings = beyond(open);
    if let Err(error) = within
        && warnings.is_empty()
    {
        warnings.push(untold("iptables-legacy or ip6tables-legacy", &error));
    }
    warnings
}

fn beyond(bridges: &[(&str, bool, bool)]) -> Vec<String> {
    let may_drop = legacy::may_drop(legacy::FORWARD);
    let mut warnings = Vec::new();
    for family in (0..2).filter(|family| may_drop[*family]) {
        let has = |(_, v4, v6): &&(&str, bool, bool)| [*v4, *v6][family];
        let outcome = bridges.iter().filter(has).try_for_each(|(bridge, ..)| open(family, bridge));
        warnings.extend(outcome.err().map(|error| untold(PROGRAMS[family], &error)));
    }
    warnings
}

/// The programs whose tables drop what the host sends out by an interface, unless a rule lets it pass that asks for more;
/// `families` are those that are asked about.
pub(super) fn that_drop_leaving(interface: &str, families: [bool; 2]) -> Vec<&'static str> {
    let may_drop = legacy::may_drop(legacy::OUTPUT);
    let asked = (0..2).filter(|family| families[*family] && may_drop[*family]);
    // Who cannot be asked is not spoken of.
    let drop =
        asked.filter(|family| run(*family, &["-S"]).is_ok_and(|listed| drops_leaving(&listed, interface)));
    drop.map(|family| PROGRAMS[family]).collect()
}

fn drops_leaving(listed: &str, interface: &str) -> bool {
    let rules = rules(listed, OUTPUT);
    let fate = rules.iter().find_map(|rule| fate(listed, leaving(rule, interface), DEPTH));
    match fate {
        None | Some("RETURN") => listed.lines().any(|line| line == format!("-P {OUTPUT} DROP")),
        Some(fate) => ["DROP", "REJECT"].contains(&fate),
    }
}

/// The rest of a rule that asks for an interface that packets leave by, for those that leave by it.
fn leaving<'a>(rule: &'a [String], interface: &str) -> &'a [String] {
    let [option, name, rest @ ..] = rule else { return rule };
    let is_it = match name.strip_suffix('+') {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    };
    if option == "-o" && is_it { rest } else { rule }
}

/// Removes the rules for which `is_gone` holds, told the bridge and whether they are about what is within it.
pub(super) fn withdraw(is_gone: impl Fn(&str, bool) -> bool) -> io::Result<()> {
    let tables = (0..2).filter(|family| legacy::is_there(*family));
    // All of them, whatever becomes of one.
    tables.map(|family| withdraw_of(family, &is_gone)).fold(Ok(()), io::Result::and)
}

fn withdraw_of(family: usize, is_gone: impl Fn(&str, bool) -> bool) -> io::Result<()> {
    let listed = match run(family, &["-S"]) {
        // Without the program nobody has put any there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    let mut outcome = Ok(());
    for line in listed.lines().filter(|line| line.contains(TAG)) {
        let mut words = split(line);
        let tag = words.iter().find_map(|word| word.strip_prefix(TAG));
        let Some(tag) = tag.filter(|_| words[0] == "-A") else { continue };
        let (bridge, way) = tag.split_once(' ').unwrap_or((tag, ""));
        if is_gone(bridge, way.is_empty()) {
            words[0] = "-D".to_owned();
            outcome = outcome.and(run(family, &self::words(&words)).map(drop));
        }
    }
    outcome
}

/// A rule without its chain.
fn rule(matches: &[&str], tag: &str, target: &str) -> Vec<String> {
    let comment = ["-m", "comment", "--comment", tag, "-j", target];
    matches.iter().chain(&comment).map(|word| (*word).to_owned()).collect()
}

/// All rules of a bridge, or none is missing.
fn open(family: usize, bridge: &str) -> io::Result<()> {
    let listed = run(family, &["-S"])?;
    let home = home(&listed);
    let mut wanted = Vec::new();
    if home == DOCKER_USER {
        // It is Docker that decides about what its own bridges are sent.
        for name in ["docker", "br-"] {
            let tag = format!("{TAG}{bridge} out {name}");
            wanted.push(rule(&["-i", bridge, "-o", &format!("{name}+")], &tag, "RETURN"));
        }
    }
    wanted.push(rule(&["-i", bridge], &format!("{TAG}{bridge} out"), "ACCEPT"));
    wanted.push(rule(&["-o", bridge], &format!("{TAG}{bridge} in"), "ACCEPT"));
    let is_there = |rule: &Vec<String>| run(family, &[&["-C", home], &words(rule)[..]].concat()).is_ok();
    if wanted.iter().all(is_there) {
        return Ok(());
    }
    withdraw_of(family, |other, of_within| other == bridge && !of_within)?;
    for rule in &wanted {
        let place = end(&run(family, &["-S"])?, home).to_string();
        run(family, &[&["-I", home, &place], &words(rule)[..]].concat())?;
    }
    Ok(())
}

fn words(rule: &[String]) -> Vec<&str> {
    rule.iter().map(String::as_str).collect()
}

/// Where rules go: Docker's own place for those of others, if anything leads there.
fn home(listed: &str) -> &'static str {
    let leads = format!("-A {FORWARD} -j {DOCKER_USER}");
    if listed.lines().any(|line| line == leads) { DOCKER_USER } else { FORWARD }
}

/// The place, from 1, of the first rule of a chain that no packet comes by, or behind the last.
fn end(listed: &str, chain: &str) -> usize {
    let rules: Vec<Vec<String>> = rules(listed, chain);
    let place = rules.iter().position(|rule| fate(listed, rule, DEPTH).is_some());
    place.unwrap_or(rules.len()) + 1
}

fn rules(listed: &str, chain: &str) -> Vec<Vec<String>> {
    let lines = listed.lines().map(split).filter(|words| words.len() > 2);
    lines.filter(|words| words[0] == "-A" && words[1] == chain).map(|words| words[2..].to_vec()).collect()
}

/// What becomes of every packet that comes to a rule; `None` where some go on.
fn fate<'a>(listed: &str, rule: &'a [String], depth: usize) -> Option<&'a str> {
    let [verb, target, ..] = rule else { return None };
    match (verb.as_str(), target.as_str()) {
        ("-j", "ACCEPT" | "DROP" | "REJECT" | "RETURN") => Some(target),
        ("-j" | "-g", chain) if depth > 0 => {
            let inner = rules(listed, chain);
            let ends = inner.iter().find_map(|rule| fate(listed, rule, depth - 1).map(str::to_owned));
            let decides = ends.is_some_and(|fate| fate != "RETURN");
            (decides || verb == "-g").then_some(target)
        }
        _ => None,
    }
}

/// The words of a line, as iptables quotes them.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted, mut is_word) = (Vec::new(), String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (is_quoted, is_word) = (!is_quoted, true),
            '\\' if is_quoted => word.extend(letters.next()),
            ' ' if !is_quoted => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            other => {
                word.push(other);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}

/// Runs the program of a family; what it has printed.
fn run(family: usize, arguments: &[&str]) -> io::Result<String> {
    let path = std::env::var("PATH").map_or_else(|_| FOLDERS.to_owned(), |path| format!("{path}:{FOLDERS}"));
    let mut command = Command::new(PROGRAMS[family]);
    command.env("PATH", path).args(["-w", PATIENCE]).args(arguments).stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(why.lines().next().unwrap_or("it says nothing").to_owned()))
}

/// For users.
fn untold(program: &str, error: &io::Error) -> String {
    format!(
        "the host has rules of {program}, which may drop forwarded packets, and none could be put among them ({program}: {error}): \
         nothing gets in or out until they let bridges named cb* pass (`{program} -I FORWARD -i cb+ -j ACCEPT`, the same \
         with `-o`)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "-P FORWARD DROP
-N DOCKER-USER
-N all
-N some
-N none
-A FORWARD -i vpn -j DROP
-A FORWARD -j LOG --log-prefix \"a b\"
-A FORWARD -j some
-A FORWARD -j all
-A FORWARD -j ACCEPT
-A DOCKER-USER -j RETURN
-A all -j none
-A all -j REJECT --reject-with icmp-port-unreachable
-A some -i eth0 -j ACCEPT
-A some -j RETURN";

    #[test]
    fn rules_go_before_the_first_that_no_packet_comes_by() {
        let places = ["FORWARD", "DOCKER-USER", "none", "all"].map(|chain| end(LISTED, chain));
        assert_eq!(places, [4, 1, 1, 2]);
        assert_eq!(home(LISTED), FORWARD);
        assert_eq!(home(&format!("{LISTED}\n-A FORWARD -j DOCKER-USER")), DOCKER_USER);
    }

    #[test]
    fn what_the_host_sends_is_dropped_unless_a_rule_lets_it_out() {
        let drops = |rules: &str| drops_leaving(&format!("-P OUTPUT DROP\n{rules}"), "cbx");
        assert!(drops("") && drops("-A OUTPUT -o lo -j ACCEPT") && drops("-A OUTPUT -j RETURN"));
        assert!(drops("-A OUTPUT -o cby -j ACCEPT"));
        assert!(!drops("-A OUTPUT -o cb+ -j ACCEPT") && !drops("-A OUTPUT -o cbx -j ACCEPT"));
        assert!(!drops("-A OUTPUT -j ACCEPT"));
        assert!(!drops_leaving("-P OUTPUT ACCEPT", "cbx"));
        assert!(drops_leaving("-P OUTPUT ACCEPT\n-A OUTPUT -j REJECT", "cbx"));
    }

    #[test]
    fn words_are_quoted_by_iptables() {
        assert_eq!(
            split(r#"-A X --comment "a \"b\" c" "" -j Y"#),
            ["-A", "X", "--comment", "a \"b\" c", "", "-j", "Y"]
        );
    }
}
