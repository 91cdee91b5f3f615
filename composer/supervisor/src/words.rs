//! What both ends of the socket say of services, in the same words.

use std::collections::BTreeSet;

/// That nothing of a service runs, and what starts it. `exists` where it has a container.
pub fn not_running(service: &str, exists: bool) -> String {
    let verb = if exists { "start" } else { "up -d" };
    format!("service {service:?} is not running: `compose {verb} {service}` starts it")
}

/// Which replicas a service has, for whoever has asked for another.
pub fn range(indexes: &BTreeSet<u32>) -> String {
    match (indexes.first(), indexes.last()) {
        (Some(first), Some(last)) if first == last => format!("it has one container, with index {first}"),
        (Some(first), Some(last)) if indexes.len() as u64 == u64::from(last - first) + 1 => {
            format!("its containers have the indexes {first} to {last}")
        }
        (Some(_), Some(_)) => {
            let indexes: Vec<String> = indexes.iter().map(u32::to_string).collect();
            format!("its containers have the indexes {}", indexes.join(", "))
        }
        (None, _) | (_, None) => "it has no containers".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_as_shortly_as_they_can_be() {
        let told = |indexes: &[u32]| range(&indexes.iter().copied().collect());
        assert_eq!(told(&[]), "it has no containers");
        assert_eq!(told(&[2]), "it has one container, with index 2");
        assert_eq!(told(&[3, 1, 2]), "its containers have the indexes 1 to 3");
        assert_eq!(told(&[1, 3]), "its containers have the indexes 1, 3");
    }
}
