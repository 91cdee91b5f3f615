//! Who a program runs as, by the root filesystem's own /etc/passwd and /etc/group (passwd(5), group(5)).
//!
//! Read as files: the C library's lookups would load modules of whatever root this process has just entered.

use std::fs;
use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::failure::{Doing, Result, StartFailure};

/// A user with its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Looks a `user` value up: `UID`, `NAME`, `UID:GID`, `NAME:GROUP`; root where absent.
pub fn look_up(wanted: Option<&str>) -> Result<User> {
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    resolve(wanted.unwrap_or("0"), &passwd, &group)
        .map_err(|message| StartFailure::because("run as user", wanted.unwrap_or("0"), message))
}

fn read(path: &str) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // A root filesystem without users has numbers only.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(error).doing("read", path),
    }
}

fn users(passwd: &str) -> impl Iterator<Item = Passwd<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Passwd { name, uid, gid, home: fields.nth(1).unwrap_or("") })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        Some(Group { name, gid: fields.next()?.parse().ok()?, members: fields.next().unwrap_or("") })
    })
}

fn resolve(wanted: &str, passwd: &str, group: &str) -> std::result::Result<User, String> {
    let (user, wanted_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    // A name that looks like a number is a name first, as in Docker.
    let entry = users(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| users(passwd).find(|entry| Some(entry.uid) == number));
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(number)) => number,
        (None, None) => return Err("the container's /etc/passwd has no such user".to_owned()),
    };
    let gid = match wanted_group {
        Some(wanted) => groups(group)
            .find(|entry| entry.name == wanted)
            .map(|entry| entry.gid)
            .or_else(|| wanted.parse().ok())
            .ok_or_else(|| format!("the container's /etc/group has no group {wanted}"))?,
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    // A group that was asked for stands alone, as in Docker.
    let supplementary = match (&entry, wanted_group) {
        (Some(user), None) => groups(group)
            .filter(|entry| entry.members.split(',').any(|member| member == user.name))
            .map(|entry| entry.gid)
            .collect(),
        _ => Vec::new(),
    };
    let home = entry.map_or("", |entry| entry.home);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    Ok(User { uid, gid, groups: supplementary, home })
}

/// Becomes the user. Those capabilities that need no root are gone after it.
pub fn become_user(user: &User) -> Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&groups)
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .doing("run as user", format_args!("{}:{}", user.uid, user.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/sh\nbroken\n7:x:70:70::/seven:\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nvideo:x:44:bob,ann\nwheel:x:10:ann\n";

    fn user(wanted: &str) -> std::result::Result<User, String> {
        resolve(wanted, PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        let ann = User { uid: 1000, gid: 100, groups: vec![44, 10], home: "/home/ann".to_owned() };
        assert_eq!(user("ann").unwrap(), ann);
        assert_eq!(user("1000").unwrap(), ann);
        assert_eq!(user("ann:wheel").unwrap(), User { gid: 10, groups: vec![], ..ann.clone() });
        assert_eq!(user("ann:4000").unwrap().gid, 4000);
        assert_eq!(user("33:33").unwrap(), User { uid: 33, gid: 33, groups: vec![], home: "/".to_owned() });
        assert_eq!(user("4242").unwrap().gid, 0);
        assert_eq!(user("7").unwrap().uid, 70);
        assert_eq!(user("").unwrap().home, "/root");
        assert!(user("bob").unwrap_err().contains("no such user"));
        assert!(user("ann:nobody").unwrap_err().contains("no group nobody"));
    }
}
