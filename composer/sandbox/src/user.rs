//! Who a program runs as, by the root filesystem's own /etc/passwd and /etc/group (passwd(5), group(5)).
//!
//! Read as files: the C library's lookups would load modules of whatever root this process has just entered.

use std::fs::File;
use std::io::{self, Read};

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::fs::OFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::tree;
use crate::userns::{self, IdRange};

/// The highest id that Docker takes, and runc's own readers of these files. Above it lies what set*id(2) takes for "leave
/// it as it is", which is root's.
const HIGHEST: u32 = 0x7fff_ffff;
/// Of a file no more is read.
const LARGEST: u64 = 16 << 20;

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

/// Looks a `user` value up: `UID`, `NAME`, `UID:GID`, `NAME:GROUP`; root where absent. `more` are names or numbers of
/// groups that it is in besides.
pub fn look_up(wanted: Option<&str>, more: &[String], userns: Option<IdRange>) -> Result<User> {
    let passwd = read("/etc/passwd")?;
    let group = read("/etc/group")?;
    let mut user = resolve(wanted.unwrap_or("0"), &passwd, &group)
        .map_err(|why| StartFailure::because("run as user", wanted.unwrap_or("0"), why).at(&["user"]))?;
    let in_range = |id: u32| userns::outside(userns, id).map(drop).map_err(|error| error.to_string());
    [user.uid, user.gid]
        .iter()
        .chain(&user.groups)
        .try_for_each(|id| in_range(*id))
        .map_err(|why| StartFailure::because("run as user", wanted.unwrap_or("0"), why).at(&["user"]))?;
    for (place, name) in more.iter().enumerate() {
        let gid = group_id(name, &group).and_then(|gid| in_range(gid).map(|()| gid)).map_err(|why| {
            StartFailure::because("join the group", name, why).at(&["group_add", &place.to_string()])
        })?;
        if !user.groups.contains(&gid) {
            user.groups.push(gid);
        }
    }
    Ok(user)
}

fn group_id(wanted: &str, group: &str) -> std::result::Result<u32, String> {
    // A name that looks like a number is a name first, as in Docker.
    let gid = groups(group)
        .find(|entry| entry.name == wanted)
        .map(|entry| entry.gid)
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| format!("the container's /etc/group has no group {wanted}"))?;
    allowed("group", gid)
}

fn allowed(kind: &str, id: u32) -> std::result::Result<u32, String> {
    if id > HIGHEST {
        return Err(format!("{kind} id {id} is too high: ids go from 0 to {HIGHEST}"));
    }
    Ok(id)
}

fn read(path: &str) -> Result<String> {
    // A root filesystem without users has numbers only.
    let Some(file) = open(path).doing("open", path)? else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).doing("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A regular file, if it is one: a container may put anything in its place, such as a FIFO that nobody writes or a
/// link to /dev/zero.
fn open(path: &str) -> io::Result<Option<File>> {
    let file = match tree::inside(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => File::from(file),
        // ACCES: a device where none works; NXIO: a socket; LOOP: a link that leads nowhere or to a descriptor.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ENXIO | libc::ELOOP)
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(file.metadata()?.is_file().then_some(file))
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
        (Some(entry), _) => allowed("user", entry.uid)?,
        (None, Some(number)) => allowed("user", number)?,
        (None, None) => return Err("the container's /etc/passwd has no such user".to_owned()),
    };
    let gid = match wanted_group {
        Some(wanted) => group_id(wanted, group)?,
        None => allowed("group", entry.as_ref().map_or(0, |entry| entry.gid))?,
    };
    // A group that was asked for stands alone, as in Docker.
    let supplementary = match (&entry, wanted_group) {
        (Some(user), None) => groups(group)
            .filter(|entry| entry.members.split(',').any(|member| member == user.name))
            .map(|entry| allowed("group", entry.gid))
            .collect::<std::result::Result<_, _>>()?,
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
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

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
        assert_eq!(group_id("video", GROUP).unwrap(), 44);
        assert_eq!(group_id("4000", GROUP).unwrap(), 4000);
        assert!(group_id("nobody", GROUP).unwrap_err().contains("no group nobody"));
    }

    #[test]
    fn no_id_leaves_the_process_roots() {
        let high = u32::MAX.to_string();
        let passwd =
            format!("high:x:{high}:0::/:\nodd:x:1000:{high}::/:\nin:x:1001:1001::/:\n7:x:{high}:7::/:\n");
        let group = format!("high:x:{high}:in\n");
        for wanted in
            [&high, "2147483648", "high", "odd", "in", "7", "0:high", "odd:high", &format!("0:{high}")]
        {
            let outcome = resolve(wanted, &passwd, &group);
            assert!(outcome.as_ref().is_err_and(|why| why.contains("too high")), "{wanted}: {outcome:?}");
        }
        assert!(group_id("high", &group).unwrap_err().contains("too high"));
        assert_eq!(resolve("odd:0", &passwd, &group).unwrap().uid, 1000);
        assert_eq!(resolve("2147483647:2147483647", &passwd, &group).unwrap().gid, HIGHEST);
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = std::env::temp_dir().join(format!("compose-user-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = |name: &str| folder.join(name).display().to_string();
        fs::write(path("plain"), PASSWD).unwrap();
        symlink("plain", path("link")).unwrap();
        symlink("/dev/zero", path("zero")).unwrap();
        symlink("/proc/self/fd/0", path("magic")).unwrap();
        nix::unistd::mkfifo(path("fifo").as_str(), Mode::S_IRWXU).unwrap();
        fs::File::create(path("large")).unwrap().set_len(LARGEST + 1).unwrap();
        assert_eq!(read(&path("plain")).unwrap(), PASSWD);
        assert_eq!(read(&path("link")).unwrap(), PASSWD);
        for absent in ["zero", "magic", "fifo", "no", "plain/below", ""] {
            assert_eq!(read(&path(absent)).unwrap(), "", "{absent}");
        }
        assert_eq!(read(&path("large")).unwrap().len() as u64, LARGEST);
        fs::remove_dir_all(folder).unwrap();
    }
}
