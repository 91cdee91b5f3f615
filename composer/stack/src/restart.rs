//! Restart policies as the file gives them: `restart` beside a service's other keys, or `deploy.restart_policy`, which
//! goes before it, as in Docker Compose.

use crate::model::{Restart, RestartPolicy};
use crate::source::Span;
use crate::values::{self, At};
use crate::yaml::Node;

/// The words of `deploy.restart_policy.condition`: the specification's, and those of `restart`, which Docker Compose
/// takes too.
pub(crate) const CONDITIONS: [&str; 6] = ["none", "on-failure", "any", "no", "always", "unless-stopped"];

/// A service's policy with the place that decides it; `None` where the file gives none.
pub(crate) fn of_service(service: &Node) -> Option<At<Restart>> {
    let deployed = service.get("deploy").and_then(|deploy| deploy.get("restart_policy"));
    match deployed.filter(|node| !node.is_null()) {
        Some(node) => Some(At::new(node, deployed_policy(node))),
        None => beside(service.get("restart")?),
    }
}

/// `no`, `always`, `on-failure[:N]`, `unless-stopped`.
fn beside(node: &Node) -> Option<At<Restart>> {
    let text = values::scalar(node)?;
    let (word, most) = text.split_once(':').map_or((text.as_str(), None), |(word, most)| (word, Some(most)));
    let max_attempts = most.and_then(|most| most.parse().ok());
    Some(At::new(
        node,
        Restart { policy: policy(word)?, max_attempts: limit(max_attempts), ..Restart::default() },
    ))
}

/// What the specification has as default is as good as not given: no limit, no delay of its own, no window of its own.
fn deployed_policy(node: &Node) -> Restart {
    let word = node.get("condition").and_then(Node::text_value).filter(|word| !word.is_empty());
    let attempts = node.get("max_attempts").and_then(values::whole);
    Restart {
        policy: policy(word.unwrap_or("any")).unwrap_or_default(),
        max_attempts: limit(attempts.and_then(|attempts| u32::try_from(attempts).ok())),
        delay: node.get("delay").and_then(values::time),
        window: node.get("window").and_then(values::time).filter(|window| !window.is_zero()),
    }
}

/// Zero attempts are no limit, in Docker as in the specification.
fn limit(attempts: Option<u32>) -> Option<u32> {
    attempts.filter(|attempts| *attempts > 0)
}

fn policy(word: &str) -> Option<RestartPolicy> {
    match word {
        "" | "no" | "none" => Some(RestartPolicy::No),
        "on-failure" => Some(RestartPolicy::OnFailure),
        "any" | "always" => Some(RestartPolicy::Always),
        "unless-stopped" => Some(RestartPolicy::UnlessStopped),
        _ => None,
    }
}

/// Where it is said that a service is started again after every end, whatever its code and however often.
pub(crate) fn without_end(service: &Node) -> Option<Span> {
    let at = of_service(service)?;
    let without_end = match at.value.policy {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => at.value.max_attempts.is_none(),
        RestartPolicy::No | RestartPolicy::OnFailure => false,
    };
    without_end.then_some(at.span)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shape::tests::shaped;

    fn read(keys: &str) -> (Restart, bool) {
        let text = format!("services: {{a: {{x-rootfs: host, command: x, {keys}}}}}");
        let (root, report) = shaped(&[text.as_str()], true);
        assert!(report.found.is_empty(), "{keys}: {:?}", report.found);
        let root = root.unwrap();
        let service = root.get("services").and_then(|services| services.get("a")).unwrap();
        (of_service(service).map(|at| at.value).unwrap_or_default(), without_end(service).is_some())
    }

    fn policy(policy: RestartPolicy) -> Restart {
        Restart { policy, ..Restart::default() }
    }

    #[test]
    fn the_short_words_are_dockers() {
        assert_eq!(read("init: true"), (Restart::default(), false));
        assert_eq!(read("restart: 'no'"), (Restart::default(), false));
        assert_eq!(read("restart: always"), (policy(RestartPolicy::Always), true));
        assert_eq!(read("restart: unless-stopped"), (policy(RestartPolicy::UnlessStopped), true));
        let three = Restart { max_attempts: Some(3), ..policy(RestartPolicy::OnFailure) };
        assert_eq!(read("restart: on-failure:3"), (three, false));
        assert_eq!(read("restart: on-failure:0"), (policy(RestartPolicy::OnFailure), false));
    }

    #[test]
    fn deploy_goes_before_restart() {
        let deployed = |keys: &str| read(&format!("restart: always, deploy: {{restart_policy: {keys}}}"));
        assert_eq!(deployed("{condition: none}"), (Restart::default(), false));
        assert_eq!(deployed("{}"), (policy(RestartPolicy::Always), true));
        assert_eq!(deployed("{condition: unless-stopped}"), (policy(RestartPolicy::UnlessStopped), true));
        let whole = Restart {
            policy: RestartPolicy::OnFailure,
            max_attempts: Some(3),
            delay: Some(Duration::from_secs(5)),
            window: Some(Duration::from_secs(120)),
        };
        let keys = "{condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}";
        assert_eq!(deployed(keys), (whole, false));
        let at_once = Restart { delay: Some(Duration::ZERO), ..policy(RestartPolicy::Always) };
        assert_eq!(deployed("{delay: 0s, max_attempts: 0, window: 0s}"), (at_once, true));
    }
}
