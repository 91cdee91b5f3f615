//! What the verbs that make containers have in common: their flags as the planner wants them, and scaling.

use std::collections::BTreeMap;

use composer_plan::{Orphans, Recreate, UpOptions};
use composer_stack::{Loaded, MOST_REPLICAS, Service, Stack, known_services};

use super::bringing::Bring;
use super::context::Context;
use super::{Error, Result};
use crate::options::{Creation, Renewal};

const IGNORE_ORPHANS: &str = "COMPOSE_IGNORE_ORPHANS";

/// Refuses flags that contradict each other, in Docker Compose's words.
pub fn check(creation: &Creation, renewal: &Renewal) -> Result<()> {
    let pairs = [
        ("--build", creation.build, "--no-build", creation.no_build),
        ("--no-recreate", creation.no_recreate, "--renew-anon-volumes", renewal.renew_anon_volumes),
        ("--force-recreate", creation.force_recreate, "--no-recreate", creation.no_recreate),
        ("--always-recreate-deps", renewal.always_recreate_deps, "--no-recreate", creation.no_recreate),
        ("--no-build", creation.no_build, "--watch", renewal.watch),
    ];
    if let Some((one, _, other, _)) = pairs.into_iter().find(|(_, one, _, other)| *one && *other) {
        return Err(Error::Usage(format!("{one} and {other} are incompatible: leave one of them out")));
    }
    Ok(())
}

/// The flags as the planner wants them. What nobody here can do is refused.
pub fn options(
    context: &Context,
    loaded: &Loaded,
    services: &[String],
    creation: &Creation,
    renewal: &Renewal,
) -> Result<UpOptions> {
    let stack = &loaded.stack;
    known(stack, services)?;
    if creation.build
        && let Some(service) = loaded.built().into_iter().find(|name| stack.services.contains_key(name))
    {
        return Err(Error::Usage(format!(
            "service {service} has a `build` section, and images cannot be built yet: leave `--build` out"
        )));
    }
    let recreate = match creation {
        Creation { no_recreate: true, .. } => Recreate::Never,
        Creation { force_recreate: true, .. } => Recreate::Always,
        _ if renewal.renew_anon_volumes => Recreate::Always,
        _ => Recreate::Changed,
    };
    let recreate_dependencies = match (creation.no_recreate, renewal.always_recreate_deps) {
        (true, _) => Recreate::Never,
        (false, true) => Recreate::Always,
        (false, false) => Recreate::Changed,
    };
    Ok(UpOptions {
        services: services.to_vec(),
        recreate,
        recreate_dependencies,
        no_deps: renewal.no_deps,
        no_start: renewal.no_start,
        renew_volumes: renewal.renew_anon_volumes,
        orphans: orphans(context, loaded, creation.remove_orphans)?,
        disabled: loaded.disabled().cloned().collect(),
    })
}

/// The images that these flags ask for.
pub fn images<'a>(services: &'a [String], creation: &Creation, no_deps: bool, is_dry: bool) -> Bring<'a> {
    Bring { services, no_deps, policy: creation.pull, quiet: creation.quiet_pull, is_dry }
}

fn orphans(context: &Context, loaded: &Loaded, flag: bool) -> Result<Orphans> {
    let ignore = loaded.is_set(IGNORE_ORPHANS);
    match (flag || context.is_set("COMPOSE_REMOVE_ORPHANS"), ignore) {
        (true, true) => Err(Error::Usage(format!(
            "cannot combine {IGNORE_ORPHANS} and --remove-orphans: orphans are either passed over or removed"
        ))),
        (true, false) => Ok(Orphans::Remove),
        (false, true) => Ok(Orphans::Ignore),
        (false, false) => Ok(Orphans::Name),
    }
}

/// Refuses names that are no services of the file.
pub fn known(stack: &Stack, services: &[String]) -> Result<()> {
    match services.iter().find(|service| !stack.services.contains_key(*service)) {
        Some(unknown) => Err(no_such_service(stack, unknown)),
        None => Ok(()),
    }
}

/// Says which services the file has.
pub fn no_such_service(stack: &Stack, name: &str) -> Error {
    let known = known_services("the file", name, stack.services.keys().map(String::as_str));
    Error::Usage(format!("no such service: {name}{known}"))
}

/// Numbers of containers by service, the last one given for each: `web=3`. `flag` is how messages call them.
pub fn scales(flag: &str, given: &[String]) -> Result<BTreeMap<String, u32>> {
    let wrong = |text: &str, why: &str| {
        Err(Error::Usage(format!(
            "invalid {flag} {text:?}: {why}, it should be SERVICE=NUM, for example web=3"
        )))
    };
    let mut scales = BTreeMap::new();
    for text in given {
        let (service, number) = match text.split_once('=') {
            Some((service, number)) if !service.is_empty() && !number.contains('=') => (service, number),
            Some(_) | None => return wrong(text, "no service and number"),
        };
        let Ok(count) = number.parse::<i64>() else {
            return wrong(text, &format!("{number:?} is no number"));
        };
        match u32::try_from(count) {
            Ok(replicas) if count <= MOST_REPLICAS => scales.insert(service.to_owned(), replicas),
            Ok(_) | Err(_) => return wrong(text, &format!("it must be from 0 to {MOST_REPLICAS}")),
        };
    }
    Ok(scales)
}

/// Gives services other numbers of containers than the file does.
pub fn scale(stack: &mut Stack, scales: &BTreeMap<String, u32>) -> Result<()> {
    for (name, replicas) in scales {
        let Some(service) = stack.services.get_mut(name) else {
            return Err(no_such_service(stack, name));
        };
        if let Some(container) = service.container_name.as_ref().filter(|_| *replicas > 1) {
            return Err(Error::Usage(format!(
                "service {name} has the container name {container}, so it cannot have {replicas} containers: names are \
                 unique; remove `container_name` to scale it"
            )));
        }
        if let Some((what, network)) = of_one(service).filter(|_| *replicas > 1) {
            return Err(Error::Usage(format!(
                "service {name} has a `{what}` on network {network}, so it cannot have {replicas} containers: each has \
                 another; remove it to scale the service"
            )));
        }
        service.replicas = *replicas;
    }
    Ok(())
}

/// An address that one container alone can have, and the network it is on.
fn of_one(service: &Service) -> Option<(&'static str, &str)> {
    let on = service.network.in_order().into_iter().enumerate();
    let mut given = on.filter_map(|(place, (key, at))| {
        // The service's own is that of its first network.
        let mac = at.mac_address.or(service.mac_address.filter(|_| place == 0));
        let v4 = at.ipv4_address.map(|_| "ipv4_address");
        let what = v4.or(at.ipv6_address.map(|_| "ipv6_address")).or(mac.map(|_| "mac_address"))?;
        Some((what, key))
    });
    given.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<BTreeMap<String, u32>, String> {
        scales("--scale option", &[text.to_owned()]).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_of_containers_are_read_and_what_is_none_is_named() {
        assert_eq!(parsed("web=3"), Ok(BTreeMap::from([("web".to_owned(), 3)])));
        for (text, why) in [
            ("web", "no service and number"),
            ("=3", "no service and number"),
            ("a=1=2", "no service and number"),
            ("web=many", "\"many\" is no number"),
            ("web=-1", "from 0 to 10000"),
            ("web=10001", "from 0 to 10000"),
        ] {
            let message = parsed(text).unwrap_err();
            assert!(message.contains(why) && message.contains("SERVICE=NUM"), "{text}: {message}");
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_named() {
        let creation = Creation { force_recreate: true, no_recreate: true, ..Creation::default() };
        let message = check(&creation, &Renewal::default()).unwrap_err().to_string();
        assert!(message.starts_with("--force-recreate and --no-recreate are incompatible"), "{message}");
        assert!(check(&Creation::default(), &Renewal::default()).is_ok());
    }
}
